import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import type { World } from "../host/world.js";
import type { Engine, EngineName, Feature } from "../engines/interface/engine.js";
import type { Gone } from "../engines/choose-engine.js";
import type { Project } from "../project/project.js";

/** An engine that is looked for when it is first asked for, and never otherwise: most builds need none. `needs`: what it must be able to do. */
export const engineOf = (
  project: Project,
  world: World,
  wish: string,
  needs: Feature | null = null,
): { get(): Promise<Engine>; release(): Promise<void> } => {
  const name = wishOf(wish);
  let chosen: Promise<Engine> | null = null;
  const report = (line: string) => world.stderr(`engine: ${line}\n`);
  const choose = async () => {
    const { chooseEngine, isNamed } = await import("../engines/choose-engine.js");
    const choice = async (gone?: Gone) => {
      const found = await chooseEngine(world.env, name, project.state, report, needs, gone);
      report(found.because);
      return found;
    };
    const first = await choice();
    if (isNamed(world.env, name)) return first.engine;
    const { givingWay } = await import("../engines/giving-way.js");
    return givingWay(first, choice);
  };
  return {
    get: () => (chosen ??= choose()),
    // Whatever went wrong while choosing was told to whoever asked for the engine; and a build has ended as it has ended.
    release: async () => {
      const engine = await chosen?.catch(() => null);
      await engine?.release().catch((error: unknown) => report(`it could not be released: ${String(error)}`));
    },
  };
};

const names: readonly (EngineName | "auto")[] = ["auto", "dagger", "buildkit"];

const wishOf = (wish: string): EngineName | "auto" => wordOf(wish, names, { what: `no engine ${wish}`, known: "engines" });
