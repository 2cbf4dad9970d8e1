import { FactoryError } from "../../dagger/src/pipeline/error.js";
import type { HostEnv } from "../io/host.js";
import type { State } from "../io/state.js";
import { buildxCandidate, type Candidate, embeddedCandidate, remoteCandidate } from "./address.js";
import { buildkitEngine } from "./buildkit.js";
import { daggerCandidate } from "./dagger-cli.js";
import type { Setup } from "./embedded.js";
import type { Engine, EngineName, Feature, Readiness } from "./engine.js";

/** An engine, and the sentence that tells a person why it is this one. */
export type Choice = { engine: Engine; because: string };

type Listed = {
  engine: EngineName;
  /** As FACTORY_BUILDKIT names it. */
  name: string;
  /** @param asked by name, so that it is worth a wait */
  look(setup: Setup, asked: boolean): Promise<{ readiness: Readiness; make(): Engine }>;
};

const buildkit =
  (find: (setup: Setup) => Promise<Candidate>): Listed["look"] =>
  async (setup) => {
    const { readiness, connection } = await find(setup);
    return { readiness, make: () => buildkitEngine(connection) };
  };

/** Every engine, in the order in which they are tried. The only list: an engine that is not here does not exist. */
const engines: readonly Listed[] = [
  { engine: "dagger", name: "dagger", look: (setup, asked) => daggerCandidate(setup.env, asked) },
  { engine: "buildkit", name: "BUILDKIT_HOST", look: buildkit(remoteCandidate) },
  { engine: "buildkit", name: "docker buildx", look: buildkit(buildxCandidate) },
  { engine: "buildkit", name: "embedded", look: buildkit(embeddedCandidate) },
];

/**
 * The first engine that can be used. An address that was given by name (BUILDKIT_HOST) is used or the choice fails:
 * falling back in silence would build somewhere else than the person asked for. FACTORY_BUILDKIT (`embedded`,
 * `docker buildx`, `BUILDKIT_HOST`) narrows the list to one. Nothing is started, but what the Dagger CLI starts when it is asked.
 * @param needs what the engine must be able to do beyond executing stages
 * @throws FactoryError ENGINE_MISSING with each candidate and why it cannot be used
 */
export async function chooseEngine(
  env: HostEnv,
  wish: EngineName | "auto",
  state: State,
  report: (line: string) => void,
  needs: Feature | null = null,
): Promise<Choice> {
  const setup: Setup = { state, env, report };
  const only = env["FACTORY_BUILDKIT"];
  const named = only ?? (env["BUILDKIT_HOST"] ? "BUILDKIT_HOST" : undefined);
  // Who names a BuildKit wants that one.
  const kind = wish === "auto" && named !== undefined ? "buildkit" : wish;
  const listed = engines.filter((one) => kind === "auto" || one.engine === kind);
  const tried: { name: string; readiness: Readiness }[] = [];
  for (const one of listed) {
    if (named !== undefined && one.engine === "buildkit" && one.name !== named) continue;
    const { readiness, make } = await one.look(setup, wish !== "auto");
    if (!readiness.ready) {
      tried.push({ name: one.name, readiness });
      continue;
    }
    const engine = make();
    // Who asks for an engine by name is told by the engine itself what it cannot do.
    if (wish === "auto" && needs !== null && !engine.features.has(needs)) tried.push({ name: one.name, readiness: unable });
    else return { engine, because: sentence(engine, one.name, readiness.why, wish, only, tried) };
  }
  throw missing(wish, only, tried);
}

const unable: Readiness = {
  ready: false,
  why: "it executes stages, and no other Dockerfile",
  fix: "have a BuildKit beside it: BUILDKIT_HOST, docker buildx, or the embedded one",
};

const sentence = (
  engine: Engine,
  name: string,
  why: string,
  wish: EngineName | "auto",
  only: string | undefined,
  tried: readonly { name: string; readiness: Readiness }[],
): string => {
  const asked = only === name ? "FACTORY_BUILDKIT asks for it" : wish === "auto" ? null : `${wish} was asked for`;
  const others = tried.map((one) => `${one.name}: ${one.readiness.why}`);
  return `${engine.name} (${engine.address}): ${[asked, why, ...others].filter(Boolean).join("; ")}`;
};

const missing = (
  wish: EngineName | "auto",
  only: string | undefined,
  tried: readonly { name: string; readiness: Readiness }[],
) => {
  const lines = tried.map(({ name, readiness }) => `${name}: ${readiness.why}${readiness.ready ? "" : `\n    ${readiness.fix}`}`);
  const names = engines.map((one) => one.name).join(", ");
  return new FactoryError("ENGINE_MISSING", {
    what: wish === "auto" ? "no engine can execute a stage here" : `engine '${wish}' cannot be used here`,
    why: lines.length > 0 ? lines.join("\n") : `FACTORY_BUILDKIT=${only ?? ""} is none of: ${names}`,
    fix: "mend one of them as the line below it says; a build that only changes application or runtime needs no engine",
  });
};
