import { execFile } from "node:child_process";
import { isErrno } from "../../dagger/src/filesystem/errno.js";
import { FactoryError, interrupted } from "../../dagger/src/pipeline/common/error.js";

/**
 * What a finished process left, decoded as UTF-8. Where its lines were read (`onLine`), `stderr` is the last of them and `stdout` is empty.
 * Up to 64 MiB otherwise.
 */
export type Finished = { exitCode: number; stdout: string; stderr: string };

export type RunOptions = {
  cwd?: string;
  /** Added to the environment of this process. */
  env?: Readonly<Record<string, string | undefined>>;
  input?: string | Uint8Array;
  signal?: AbortSignal;
  /** Milliseconds. */
  timeout?: number;
  /** "inherit" hands the terminal to the process; "lines" calls onLine for each line of both streams while it runs. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
  /**
   * `captured` is usual. `through`: what it prints goes where this process prints, byte by byte, and none of it is returned. `terminal`:
   * stdin too.
   */
  streams?: "captured" | "through" | "terminal";
};

/** Characters of stderr that are kept at least where lines are read. */
const tail = 64 * 1024;

/**
 * A process that runs for as long as it takes. Here and in `ask` processes are started, and nowhere else. A non-zero exit is a
 * result, not an error: the caller knows what it means.
 * @throws FactoryError HOST_TOOL_MISSING when the program does not exist, INTERRUPTED when the signal fired
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { onLine } = options;
  const { execa, ExecaError } = await import("execa");
  try {
    const child = execa(program, args, {
      reject: false,
      stripFinalNewline: false,
      // What is read line by line is as long as it runs; what is kept whole has a limit, at which the program is ended.
      ...(onLine === undefined ? { maxBuffer: 64 * 1024 * 1024 } : { buffer: false }),
      forceKillAfterDelay: 5_000,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.input === undefined
        ? { stdin: options.streams === "terminal" ? "inherit" : "ignore" }
        : { input: options.input }),
      ...(options.streams === undefined || options.streams === "captured" ? {} : { stdout: "inherit", stderr: "inherit" }),
      ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    });
    let lastLines = "";
    if (onLine !== undefined) {
      const drain = async (stream: "stdout" | "stderr") => {
        for await (const line of child.iterable({ from: stream })) {
          onLine(String(line), stream);
          if (stream === "stderr")
            lastLines = `${lastLines.length > 2 * tail ? lastLines.slice(-tail) : lastLines}${String(line)}\n`;
        }
      };
      await Promise.all([drain("stdout"), drain("stderr")]);
    }
    const result = await child;
    if (result.isCanceled) throw interrupted(`${program} was stopped on request`);
    if (result instanceof ExecaError && result.code === "ENOENT") throw missing(program, result);
    if (result instanceof ExecaError && result.code === "EACCES") throw missing(program, result);
    return {
      exitCode: result.exitCode ?? 128,
      stdout: String(result.stdout ?? ""),
      stderr:
        (result.stderr === undefined ? lastLines : String(result.stderr)) +
        (result.timedOut ? `\n${program}: no answer in ${options.timeout} ms` : ""),
    };
  } catch (error) {
    if (options.signal?.aborted) throw interrupted(`${program} was stopped on request`);
    throw error;
  }
}

/**
 * A short question to a program, answered by its exit code and a few words. By Node's own means: to load execa takes as long as git
 * needs for an answer, and publishing a code change asks git alone.
 * @throws FactoryError as run
 */
export const ask = (
  program: string,
  args: readonly string[],
  { signal, env }: Pick<RunOptions, "signal" | "env">,
): Promise<Finished> =>
  new Promise((resolve, reject) => {
    execFile(program, args, { signal, env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      if (signal?.aborted) reject(interrupted(`${program} was stopped on request`));
      else if (isErrno(error, "ENOENT", "EACCES")) reject(missing(program, error));
      else resolve({ exitCode: error === null ? 0 : typeof error.code === "number" ? error.code : 128, stdout, stderr });
    });
  });

const missing = (program: string, cause: unknown) =>
  new FactoryError("HOST_TOOL_MISSING", {
    what: `cannot run ${program}`,
    why: "no such program on PATH",
    fix: `install ${program}, or put it on PATH`,
    cause,
  });
