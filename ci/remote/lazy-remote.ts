import type { StageCache } from "../../dagger/src/build/ports.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { World } from "../host/world.js";
import type { State } from "../state/state.js";
import type { Remote, RemoteUse } from "./remote.js";

/**
 * The registry of an image as a stage cache that is only read; null where it may not be asked. It is opened, and its client loaded, with the
 * first question: after a code change there is none.
 */
export function lazyRemote(use: RemoteUse, state: State, plan: Pick<Plan, "repository">, world: World): StageCache | null {
  if (use === "off") return null;
  const unanswered = use === "require" ? "fail" : "warn";
  let opened: Promise<Remote> | null = null;
  const open = () =>
    (opened ??= import("./open-remote.js").then(({ openRemote }) =>
      openRemote(state, plan, world, { access: "pull", unanswered }),
    ));
  return {
    unanswered,
    // A failure to open is thrown by the call that needs the answer.
    ask: (stages) =>
      void open().then(
        (remote) => remote.ask(stages),
        () => undefined,
      ),
    find: async (plan, stage, local, untrusted) => (await open()).find(plan, stage, local, untrusted),
    fetch: async (record, missing) => (await open()).fetch(record, missing),
    // `publish` pushes what is executed, together with the image.
    keep: async () => undefined,
  };
}

/** Warns of the first of many similar problems: the registry's answer to one stage or platform is its answer to all. */
export function warnOnce(world: Pick<World, "stderr">): (text: string) => void {
  let warned = false;
  return (text) => {
    if (!warned) world.stderr(`note: ${text}\n`);
    warned = true;
  };
}
