/**
 * # ci/engines
 *
 * Which engine executes stages, and which one is next when it cannot be used. A choice is said once, with its reason.
 */
import { taskWording } from "../cli/fix-words.js";
import { fixText } from "../../dagger/src/pipeline/common/fix.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { HostEnv } from "../host/programs.js";
import type { State } from "../state/state.js";
import { buildxCandidate, type Candidate, embeddedCandidate, remoteCandidate } from "./candidates.js";
import { buildkitEngine } from "./buildkit/buildkit-engine.js";
import { daggerCandidate } from "./dagger/dagger-cli.js";
import type { Setup } from "./embedded/lease.js";
import type { Engine, EngineName, Feature, Readiness } from "./interface/engine.js";

/** An engine, under what name it is listed, and the sentence that tells a person why it is this one. */
export type Choice = { name: string; engine: Engine; because: string };

/** Engines that were tried and cannot be used, by the name under which they are listed, and why. */
export type Gone = ReadonlyMap<string, string>;

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
 * The first engine that can be used. BUILDKIT_HOST is tried before all others. One that cannot be used is named in the sentence, and the next
 * is looked at; but whoever names an engine (ENGINE=, FACTORY_BUILDKIT: `embedded`, `docker buildx`, `BUILDKIT_HOST`) gets that one, or an
 * error. Nothing is started, but what the Dagger CLI starts when it is asked.
 * @param needs what the engine must be able to do beyond executing stages
 * @param gone engines that are not looked at again
 * @throws FactoryError ENGINE_MISSING with each candidate and why it cannot be used
 */
export async function chooseEngine(
  env: HostEnv,
  wish: EngineName | "auto",
  state: State,
  report: (line: string) => void,
  needs: Feature | null = null,
  gone: Gone = new Map(),
): Promise<Choice> {
  const setup: Setup = { state, env, report };
  const only = env["FACTORY_BUILDKIT"];
  const tried: Tried[] = [];
  for (const one of candidates(env, wish)) {
    const why = gone.get(one.name);
    const { readiness, make } = why === undefined ? await lookAt(one, setup, wish) : failed(why);
    if (!readiness.ready) {
      tried.push({ name: one.name, readiness });
      continue;
    }
    const engine = make();
    // Who asks for an engine by name is told by the engine itself what it cannot do.
    if (wish === "auto" && needs !== null && !engine.features.has(needs)) tried.push({ name: one.name, readiness: unable });
    else return { name: one.name, engine, because: sentence(engine, one.name, readiness.why, wish, only, tried) };
  }
  throw missing(wish, only, tried);
}

/** Whether an engine was named, so that no other takes its place. */
export const isNamed = (env: HostEnv, wish: EngineName | "auto"): boolean =>
  wish !== "auto" || env["FACTORY_BUILDKIT"] !== undefined;

/** The engines in the order in which they are tried. */
const candidates = (env: HostEnv, wish: EngineName | "auto"): readonly Listed[] => {
  const only = env["FACTORY_BUILDKIT"];
  const host = env["BUILDKIT_HOST"] ? "BUILDKIT_HOST" : undefined;
  if (!isNamed(env, wish)) return [...engines].sort((a, b) => Number(b.name === host) - Number(a.name === host));
  const named = only ?? host;
  const kind = wish === "auto" ? "buildkit" : wish;
  return engines.filter((one) => one.engine === kind && (kind !== "buildkit" || named === undefined || one.name === named));
};

type CandidateLook = Awaited<ReturnType<Listed["look"]>>;

/** An engine that cannot even be looked at (its program cannot be started) is one that cannot be used. */
const lookAt = async (one: Listed, setup: Setup, wish: EngineName | "auto"): Promise<CandidateLook> => {
  try {
    return await one.look(setup, wish !== "auto");
  } catch (error) {
    if (!(error instanceof FactoryError) || error.code === "INTERRUPTED" || isNamed(setup.env, wish)) throw error;
    return failed(`${error.explanation.what}: ${error.explanation.why}`, fixText(error.explanation.fix, taskWording));
  }
};

const failed = (why: string, fix = "name another engine: ENGINE=buildkit, or FACTORY_BUILDKIT=embedded"): CandidateLook => ({
  readiness: { ready: false, why, fix },
  make() {
    throw new Error("an engine that cannot be used is not made");
  },
});

type Tried = { name: string; readiness: Readiness };

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
  tried: readonly Tried[],
): string => {
  const asked = only === name ? "FACTORY_BUILDKIT asks for it" : wish === "auto" ? null : `${wish} was asked for`;
  const others = tried.map((one) => `${one.name}: ${one.readiness.why}`);
  return `${engine.name} (${engine.address}): ${[asked, why, ...others].filter(Boolean).join("; ")}`;
};

const missing = (wish: EngineName | "auto", only: string | undefined, tried: readonly Tried[]) => {
  const lines = tried.map(({ name, readiness }) => `${name}: ${readiness.why}${readiness.ready ? "" : `\n    ${readiness.fix}`}`);
  const names = engines.map((one) => one.name).join(", ");
  return new FactoryError("ENGINE_MISSING", {
    what: wish === "auto" ? "no engine can execute a stage here" : `engine '${wish}' cannot be used here`,
    why: lines.length > 0 ? lines.join("\n") : `FACTORY_BUILDKIT=${only ?? ""} is none of: ${names}`,
    fix: "fix one of them as the line below it says; a build that only changes application or runtime needs no engine",
  });
};
