/** The most memory and the largest file of a program that reads an index by itself: it has no limits of its own. */
const most = { memory: 4 * 2 ** 30, file: 4 * 2 ** 30 };

/** A program with these limits, as words for `run`. It ends by a signal where an answer is larger. */
export const limited = (program: string, args: readonly string[]): [string, string[]] => [
  "/bin/sh",
  ["-c", `ulimit -v ${most.memory / 1024} && ulimit -f ${most.file / 512} && exec "$0" "$@"`, program, ...args],
];

/** Whether a program was ended by a signal, as it is when it meets a limit. */
export const metLimit = ({ exitCode }: { exitCode: number }): boolean => exitCode >= 128;
