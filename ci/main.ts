import { FactoryError } from "../dagger/src/pipeline/error.js";
import type { World } from "./command.js";
import { commands, isCommand } from "./commands/index.js";
import { suggestion } from "../dagger/src/pipeline/suggest.js";
import { systemError } from "./io/system-error.js";
import { readTyped, refuseStray, withVariables } from "./variables.js";
import { overview, usage } from "./view/help.js";
import { problemText } from "./view/problem.js";

const oldestNode = 20;

/** argv → command → exit code: the only process.exit, and the only printer of errors. */
const main = async (): Promise<number> => {
  const abort = new AbortController();
  const stop = () => abort.abort();
  process.on("SIGINT", stop).on("SIGTERM", stop);
  const { stderr } = process;
  const typed = readTyped(process.env, process.ppid);
  const env = withVariables(process.env, typed);
  const colour = env["NO_COLOR"] === undefined && stderr.isTTY && env["TERM"] !== "dumb";
  const world: World = {
    env,
    cwd: process.cwd(),
    signal: abort.signal,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => stderr.write(text),
    screen: stderr,
    live: stderr.isTTY && env["TERM"] !== "dumb" && env["CI"] === undefined,
    colour,
    now: Date.now,
  };
  const [name = "help", ...rest] = process.argv.slice(2);
  try {
    // Asked here and not by ./task: another start of Node would cost each command more than all that ./task does.
    if (Number(process.versions.node.split(".")[0]) < oldestNode) {
      throw new FactoryError("HOST_TOOL_MISSING", {
        what: `node ${process.versions.node} is too old`,
        why: `the pipeline needs Node.js ${oldestNode}`,
        fix: `install Node.js ${oldestNode} or newer`,
      });
    }
    if (name === "help" || name === "--help") {
      world.stdout(overview(commands));
      return 0;
    }
    if (!isCommand(name)) {
      const known = Object.keys(commands);
      throw new FactoryError("USAGE", {
        what: `no command ${name}`,
        why: `commands: ${known.join(", ")}`,
        fix: suggestion(name, known),
      });
    }
    const command = await commands[name].load();
    if (rest.includes("--help")) {
      world.stdout(usage(command));
      return 0;
    }
    refuseStray(name, command.flags, typed);
    return await command.run(rest, world);
  } catch (caught) {
    const error = systemError(caught);
    const json = rest.includes("--json") || env["FACTORY_JSON"] === "1";
    world.stderr(problemText(error, { colour, json, verbose: env["FACTORY_DEBUG"] !== undefined }));
    return error instanceof FactoryError ? error.exitCode : 1;
  }
};

// A reader that closes early (`plan | head`) is no failure of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
// No await: the compiled program is a script, which ci/start.ts starts faster than Node does a module.
void (async () => {
  process.exitCode = await main();
  if (process.stdout.writableLength === 0) process.exit();
  else process.stdout.once("drain", () => process.exit());
})();
