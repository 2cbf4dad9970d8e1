/**
 * # ci
 *
 * Where the process starts: it finds the command, runs it and sets the exit code. Only this file ends the process.
 */
import { FactoryError } from "../dagger/src/pipeline/common/error.js";
import { taskWording } from "./cli/fix-words.js";
import { isOn } from "./cli/command.js";
import { type World } from "./host/world.js";
import { commands, isCommand } from "./commands/index.js";
import { visible } from "../dagger/src/pipeline/common/printable.js";
import { suggestion } from "../dagger/src/pipeline/common/suggest.js";
import { isSupportedNode } from "./host/node-version.js";
import { type StandardOutput, standardOutput } from "./cli/standard-output.js";
import { systemError } from "./host/system-error.js";
import { readTyped, refuseStray, withVariables } from "./cli/task-variables.js";
import { overview, usage } from "./cli/help.js";
import { problemText } from "./view/problem.js";

/** Signals that end a process and can be answered: each leaves as little behind as an interrupt from the keyboard. */
const endings = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR2", "SIGXCPU", "SIGVTALRM", "SIGPROF"] as const;

/** argv → command → exit code: the only process.exit, and the only printer of errors. */
const main = async (stdout: StandardOutput): Promise<number> => {
  let { env }: { env: World["env"] } = process;
  const colour = env["NO_COLOR"] === undefined && process.stderr.isTTY && env["TERM"] !== "dumb";
  const [name = "help", ...rest] = process.argv.slice(2);
  try {
    // ./task brings one that is new enough: this is for whoever starts Task or the program without it.
    if (!isSupportedNode(process.versions.node)) {
      throw new FactoryError("HOST_TOOL_MISSING", {
        what: `node ${process.versions.node} is too old`,
        why: "the pipeline needs Node.js 22.21 or newer of 22, or 24.5 or newer",
        fix: "start it by ./task, which brings a newer one, or install Node.js 24",
      });
    }
    const typed = readTyped(env, process.ppid);
    env = withVariables(env, typed);
    const world = worldOf(env, stdout, colour);
    if (name === "help" || name === "--help") {
      world.stdout(overview(await Promise.all(Object.values(commands).map((load) => load()))));
      return await finished(0, stdout);
    }
    if (!isCommand(name)) {
      const known = Object.keys(commands);
      throw new FactoryError("USAGE", {
        what: `no command ${name}`,
        why: `commands: ${known.join(", ")}`,
        fix: suggestion(name, known),
      });
    }
    const command = await commands[name]();
    if (rest.includes("--help")) {
      world.stdout(usage(command));
      return await finished(0, stdout);
    }
    refuseStray(name, command.flags, typed);
    return await finished(await command.run(rest, world), stdout);
  } catch (caught) {
    const error = systemError(caught);
    const json = rest.includes("--json") || isOn(env["FACTORY_JSON"]);
    process.stderr.write(problemText(error, { colour, json, verbose: env["FACTORY_DEBUG"] !== undefined, wording: taskWording }));
    return error instanceof FactoryError ? error.exitCode : 1;
  }
};

const worldOf = (env: World["env"], stdout: StandardOutput, colour: boolean): World => {
  const abort = new AbortController();
  const stop = () => abort.abort();
  for (const signal of endings) process.on(signal, stop);
  const { stderr } = process;
  return {
    env,
    cwd: process.cwd(),
    signal: abort.signal,
    // What they quote comes from anywhere: file names, registries, engines. Colours are written by the views of progress and problems alone.
    stdout: (text) => stdout.write(visible(text, "lines")),
    stderr: (text) => stderr.write(visible(text, "lines")),
    screen: stderr,
    live: stderr.isTTY && env["TERM"] !== "dumb" && env["CI"] === undefined,
    colour,
    interactive: process.stdin.isTTY && stderr.isTTY,
    now: Date.now,
  };
};

/** @throws FactoryError OUTPUT_FAILED: an answer that nobody could read is none */
const finished = async (code: number, stdout: StandardOutput): Promise<number> => {
  const failure = await stdout.finish();
  if (failure !== null) throw unwritten(failure);
  return code;
};

const unwritten = (cause: NodeJS.ErrnoException): FactoryError =>
  new FactoryError("OUTPUT_FAILED", {
    what: "the result could not be written to standard output",
    why: cause.message,
    fix: "free some space there or name another place, then run the same command again",
    cause,
  });

// Progress that nobody can read ends nothing.
process.stderr.on("error", () => undefined);
// The end of the command alone makes it another code: Node ends with 0 when there is nothing left to wait for.
process.exitCode = 1;
let isTold = false;
process.on("uncaughtExceptionMonitor", () => (isTold = true));
process.once("exit", () => {
  if (!isTold)
    process.stderr.write(
      "error: this is a bug in image-factory, please report it: the command came to no end, and nothing is left to wait for\n",
    );
});
// No await: the compiled program is a script, which ci/start.ts starts faster than Node does a module.
void (async () => {
  process.exitCode = await main(standardOutput());
  isTold = true;
  process.exit();
})();
