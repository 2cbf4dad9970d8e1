import { commands, type CommandName } from "../../../ci/commands/index.js";
import { systemError } from "../../../ci/host/system-error.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { worldAt } from "../../fixtures/world.js";

/** How a command ended in this process: as `main` would end, without the start of another one. */
export type Outcome = { code: number; stdout: string; stderr: string; error: unknown };

/**
 * Runs a command as on a machine with this state folder, where no engine and no registry is.
 * What must be executed ends with ENGINE_MISSING (69).
 */
export const command = async (
  project: string,
  state: string,
  name: CommandName,
  words: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> => {
  const nowhere = {
    FACTORY_STATE: state,
    FACTORY_REMOTE: "off",
    FACTORY_BUILDKIT: "none",
    FACTORY_SCOPE: "protected",
    PATH: "/nowhere",
  };
  const { world, stdout, stderr } = worldAt(project, { ...nowhere, ...env });
  const ended = (code: number, error: unknown): Outcome => ({ code, stdout: stdout(), stderr: stderr(), error });
  try {
    return ended(await (await commands[name]()).run(words, world), null);
  } catch (caught) {
    const error = systemError(caught);
    return ended(error instanceof FactoryError ? error.exitCode : 1, error);
  }
};

/** What `plan` would do with each stage: `base-tools reuse`. */
export const planned = async (project: string, state: string, env: Readonly<Record<string, string>> = {}): Promise<string[]> => {
  const { code, stdout, error } = await command(project, state, "plan", ["--json"], env);
  if (code !== 0) throw error;
  const { plans } = JSON.parse(stdout) as { plans: { stages: { stage: string; action: string }[] }[] };
  return plans[0]!.stages.map(({ stage, action }) => `${stage} ${action}`);
};

/** The digest that `build` prints. */
export const built = async (
  project: string,
  state: string,
  words: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<string> => {
  const { code, stdout, error } = await command(project, state, "build", ["--json", ...words], env);
  if (code !== 0) throw error;
  return (JSON.parse(stdout) as { digest: string }).digest;
};
