import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import type { World } from "../host/world.js";
import type { Engine, EngineName, Feature } from "../engines/interface/engine.js";
import type { Gone } from "../engines/choose-engine.js";
import type { Project } from "../project/project.js";

/**
 * An engine that is chosen when it is first needed: most builds need none.
 * @param engine auto, or the name of an engine
 * @param needs a feature that it must have
 */
export const engineOf = (
  project: Project,
  world: World,
  engine: string,
  needs: Feature | null = null,
): { get(): Promise<Engine>; release(): Promise<void> } => {
  const name = engineName(engine);
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
    // A failure to choose an engine was thrown by `get`. A failure to release one does not change the result of the build.
    release: async () => {
      const used = await chosen?.catch(() => null);
      await used?.release().catch((error: unknown) => report(`it could not be released: ${String(error)}`));
    },
  };
};

const names: readonly (EngineName | "auto")[] = ["auto", "dagger", "buildkit"];

const engineName = (text: string): EngineName | "auto" => wordOf(text, names, { what: `no engine ${text}`, known: "engines" });
