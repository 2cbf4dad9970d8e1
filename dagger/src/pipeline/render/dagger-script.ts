import { quote } from "../steps/shell.js";

/**
 * Commands as the text of one `/bin/sh -eu -c`, for an engine that does not rewrite the times of layers: whatever the commands
 * leave has the epoch for its time, so that two executions give one layer, as BuildKit's rewrite-timestamp does at its export.
 *
 * Changed is what has a newer ctime than a marker: tar, pip and dpkg set mtimes of their own, ctimes nobody sets. What is older than
 * the epoch keeps its time. Directories that lead to a mount, `/` and `/etc` are changed before the marker is there, by the engine,
 * which makes the places to mount at and removes them afterwards with the parents' times as they are then.
 * The last line that is printed says how long it took, which tells an execution from one that was remembered (readTook).
 * @param epoch seconds since the Unix epoch
 * @param targets absolute paths at which something is mounted
 */
export const execText = (statements: readonly string[], epoch: number, targets: readonly string[]): string => {
  const above = [...new Set(["/", "/etc", "/tmp", ...targets.flatMap(foldersAbove)])].sort();
  const touch = `-newermt @${epoch} -exec touch -h -d @${epoch} {} +`;
  return [
    "began=$(date +%s%N)",
    // Not in /tmp: commands may empty it.
    "marker=$(mktemp -p /dev/shm 2>/dev/null || mktemp); sleep 0.02",
    // A subshell: commands that end with `exit 0` end only themselves.
    "(",
    ...statements,
    ")",
    // After the commands: they may have installed it.
    `find / -maxdepth 0 -newermt @${epoch} >/dev/null 2>&1 || { echo ${quote(noFind)} >&2; exit 69; }`,
    `find / -xdev \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -cnewer "$marker" ${touch}`,
    'rm -f "$marker"',
    // Of these a base may lack some, and a command may have removed one.
    `for folder in ${above.map(quote).join(" ")}; do if [ -d "$folder" ]; then find "$folder" -maxdepth 0 ${touch}; fi; done`,
    'printf "\\ntook %s ms\\n" $(( ($(date +%s%N) - began) / 1000000 ))',
  ].join("\n");
};

const noFind =
  "Dagger needs GNU find in the base: add findutils to the packages of base-tools, or build with another engine (ENGINE=buildkit)";

/**
 * What a command printed, without the line that says how many milliseconds it took (null where no such line is). Whoever waited
 * for it for less was told of an earlier execution.
 */
export const readTook = (printed: string): { milliseconds: number | null; rest: string } => {
  const line = /\n?took (\d+) ms\n$/.exec(printed);
  return line === null
    ? { milliseconds: null, rest: printed }
    : { milliseconds: Number(line[1]), rest: printed.slice(0, line.index) };
};

const foldersAbove = (path: string): string[] => {
  const parts = path.split("/").slice(1, -1);
  return parts.map((_, at) => `/${parts.slice(0, at + 1).join("/")}`);
};
