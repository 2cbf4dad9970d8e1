import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { World } from "../host/world.js";
import type { State } from "../state/state.js";
import type { RemoteUse, StageSource, Remote } from "./stage-source.js";

/**
 * The registry of an image as plan and build read it; null where it is not to be asked. Opened, and its client loaded, with the first
 * question: after a code change there is none.
 */

export const lazyRemote = (use: RemoteUse, state: State, plan: Pick<Plan, "repository">, world: World): StageSource | null => {
  if (use === "off") return null;
  const options = { access: "pull", unanswered: use === "require" ? "fail" : "warn" } as const;
  let opened: Promise<Remote> | null = null;
  const open = () => (opened ??= import("./open-remote.js").then(({ openRemote }) => openRemote(state, plan, world, options)));
  return {
    ...options,
    // Whoever awaits the answer hears of a failure to open.
    ask: (stages) =>
      void open().then(
        (remote) => remote.ask(stages),
        () => undefined,
      ),
    find: async (planned, stage, kept, untrusted) => (await open()).find(planned, stage, kept, untrusted),
    fetch: async (record, missing) => (await open()).fetch(record, missing),
  };
};
