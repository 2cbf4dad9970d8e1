import { execa, ExecaError } from "execa";
import { FactoryError } from "../../dagger/src/pipeline/error.js";

/** What a finished process left. `stderr` holds the last 64 KiB at least; both are decoded as UTF-8. */
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
  /** Attach stdin, stdout and stderr of this process. */
  interactive?: boolean;
};

/**
 * The one place that starts a process. A non-zero exit is a result, not an error: the caller knows what it means.
 * @throws FactoryError HOST_TOOL_MISSING when the program does not exist, INTERRUPTED when the signal fired
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { onLine } = options;
  try {
    const child = execa(program, args, {
      reject: false,
      stripFinalNewline: false,
      maxBuffer: 64 * 1024 * 1024,
      forceKillAfterDelay: 5_000,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.input === undefined ? { stdin: options.interactive ? "inherit" : "ignore" } : { input: options.input }),
      ...(options.interactive ? { stdout: "inherit", stderr: "inherit" } : {}),
      ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    });
    if (onLine !== undefined) {
      const drain = async (stream: "stdout" | "stderr") => {
        for await (const line of child.iterable({ from: stream })) onLine(String(line), stream);
      };
      await Promise.all([drain("stdout"), drain("stderr")]);
    }
    const result = await child;
    if (result.isCanceled) throw interrupted(program);
    if (result instanceof ExecaError && result.code === "ENOENT") throw missing(program, result);
    if (result instanceof ExecaError && result.code === "EACCES") throw missing(program, result);
    return {
      exitCode: result.exitCode ?? 128,
      stdout: String(result.stdout ?? ""),
      stderr: String(result.stderr ?? "") + (result.timedOut ? `\n${program}: no answer in ${options.timeout} ms` : ""),
    };
  } catch (error) {
    if (options.signal?.aborted) throw interrupted(program);
    throw error;
  }
}

const interrupted = (program: string) =>
  new FactoryError("INTERRUPTED", {
    what: "interrupted",
    why: `${program} was stopped on request`,
    fix: "run the same command again; what was finished is kept",
  });

const missing = (program: string, cause: unknown) =>
  new FactoryError(
    "HOST_TOOL_MISSING",
    { what: `cannot run ${program}`, why: "no such program on PATH", fix: `install ${program}, or put it on PATH` },
    { cause },
  );
