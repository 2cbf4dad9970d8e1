import { byName, hostCa, type Mount, type Script } from "../steps/shell.js";
import type { ConfigChange } from "../steps/step.js";

/** Pieces of Dockerfile text. Nothing here knows a stage or a step: values in, instructions out. */

const width = 118;

/** Several lines, a comment, a line that goes on, a here-document: what the shell form of RUN would tear apart or swallow. */
const notOneLine = /\n|^\s*#|\\$|<</;

/** `RUN` of one script, or of a `case` over several where platforms or versions differ. */
export const runInstruction = (variants: Variants, secrets: Secrets, caches: string): string => {
  const [first] = variants.scripts;
  if (first === undefined) return "";
  const mounts = mountFlags(first.script.mounts, secrets, caches);
  const exports = first.script.mounts.some(({ mount }) => mount === "network") ? secretExports(secrets) : [];
  const same = variants.scripts.every(
    ({ script }) => JSON.stringify(script.statements) === JSON.stringify(first.script.statements),
  );
  const options = mounts.map((flag) => `${flag} \\\n    `).join("");
  if (same && first.script.statements.some((statement) => typeof statement === "string" && notOneLine.test(statement))) {
    // Such text needs no escaping in the exec form, and every builder knows it.
    const text = [...exports, ...first.script.statements.map(oneLine)].join("\n");
    return `RUN ${options}${JSON.stringify(["/bin/sh", "-eu", "-c", text])}`;
  }
  const lines = same
    ? [...exports, ...first.script.statements].flatMap((statement) => [...wrapped(statement, "    "), ";"])
    : caseOf(variants, exports);
  return `RUN ${options}set -eu; \\\n${joined(lines)}`;
};

export type Variants = {
  /** The shell word that tells the variants apart, and what to say when none fits. */
  over: { word: string; refuse: string };
  scripts: readonly { label: string; script: Script }[];
};

export type Secrets = Readonly<Record<string, { as: string }>>;

/** What all variants begin and end with stands once; the `case` holds what differs. Lines; ";" as an element ends a statement. */
const caseOf = ({ over, scripts }: Variants, exports: readonly string[]): string[] => {
  const lists = scripts.map(({ script }) => script.statements);
  const shortest = Math.min(...lists.map(({ length }) => length));
  const agree = (at: (list: Script["statements"]) => unknown) =>
    lists.every((list) => JSON.stringify(at(list)) === JSON.stringify(at(lists[0]!)));
  let head = 0;
  while (head < shortest && agree((list) => list[head])) head += 1;
  let tail = 0;
  while (tail < shortest - head && agree((list) => list.at(-1 - tail))) tail += 1;
  const plainLines = (statements: Script["statements"]) =>
    statements.flatMap((statement) => [...wrapped(statement, "    "), ";"]);
  return [
    ...plainLines([...exports, ...lists[0]!.slice(0, head)]),
    `    case ${over.word} in`,
    ...scripts.flatMap(({ label, script }) => [
      `    ${label})`,
      ...script.statements
        .slice(head, script.statements.length - tail)
        .flatMap((statement) => [...wrapped(statement, "      "), ";"]),
      "      ;;",
    ]),
    `    *) echo ${over.refuse} >&2; exit 67 ;;`,
    "    esac",
    ";",
    ...plainLines(lists[0]!.slice(lists[0]!.length - tail)),
  ];
};

const joined = (lines: readonly string[]): string =>
  lines
    .flatMap((line, index) => {
      if (line === ";") return [];
      // A statement that a `;;` follows, or nothing, needs no `;` of its own.
      const isEnded = lines[index + 1] === ";" && index + 2 < lines.length && lines[index + 2]?.trim() !== ";;";
      return isEnded ? [`${line};`] : [line];
    })
    .join(" \\\n");

/** A statement as one line of a shell script. */
export const oneLine = (statement: string | readonly string[]): string =>
  typeof statement === "string" ? statement : statement.join(" ");

const wrapped = (statement: string | readonly string[], indent: string): string[] => {
  if (typeof statement === "string") return [indent + statement];
  const lines: string[] = [];
  let line = indent;
  for (const word of statement) {
    if (line.trim() !== "" && line.length + word.length + 1 > width) {
      lines.push(line.trimEnd());
      line = `${indent}    `;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
};

const mountFlags = (mounts: readonly Mount[], secrets: Secrets, caches: string): string[] =>
  mounts.flatMap((mount) => {
    switch (mount.mount) {
      case "cache":
        return [`--mount=type=cache,id=${caches}-${mount.id},target=${mount.target},sharing=locked`];
      case "download":
        return [`--mount=type=bind,from=download-${mount.name},source=/file,target=${mount.target}`];
      case "context":
        return [`--mount=type=bind,source=${flagWord(mount.source)},target=${flagWord(mount.target)}`];
      case "network":
        return [
          `--mount=type=secret,id=${hostCa.id},target=${hostCa.target}`,
          ...byName(secrets).map(([id, { as }]) =>
            as.startsWith(asVariable)
              ? `--mount=type=secret,id=${id},env=${as.slice(asVariable.length)}`
              : `--mount=type=secret,id=${id},target=${secretTarget(id, as)}`,
          ),
        ];
    }
  });

/** How a host's secret reaches a command that must be the same without it: by the mount alone, which no history of an image tells. */
const asVariable = "variable:";

/** Where a command finds a declared secret: at the path it asks for, or beside the others. */
export const secretTarget = (id: string, as: string): string =>
  as.startsWith("file:") ? as.slice("file:".length) : `/run/secrets/${id}`;

/** A secret file becomes a variable inside the command: `env=` of a secret mount is not known to every builder. */
export const secretExports = (secrets: Secrets): string[] =>
  byName(secrets)
    .filter(([, { as }]) => as.startsWith("env:"))
    .map(
      ([id, { as }]) =>
        `if [ -s ${secretTarget(id, as)} ]; then export ${as.slice("env:".length)}="$(cat ${secretTarget(id, as)})"; fi`,
    );

/** A path in a flag: a blank would end it. What else could, no path of a mount has (spec.ts). */
const flagWord = (path: string): string => path.replaceAll(" ", "\\ ");

/** A word of COPY or WORKDIR: builders expand variables and take quotes away, in the JSON form too. */
export const dockerWord = (text: string): string => text.replaceAll(/[\\$"']/g, "\\$&");

const dockerString = (value: string): string =>
  `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("$", "\\$")}"`;

export const configInstructions = (change: ConfigChange): string[] => {
  const { env, path = [], labels, workdir, entrypoint, cmd, healthcheck, user } = change;
  const lines = [
    ...byName(env).map(([name, value]) => `ENV ${name}=${dockerString(value)}`),
    // The one value that builders expand: what PATH is below stands in an image that the planner does not read.
    ...(path.length === 0 ? [] : [`ENV PATH=${dockerString(`${path.join(":")}:`).slice(0, -1)}$PATH"`]),
    ...byName(labels).map(([name, value]) => `LABEL ${dockerString(name)}=${dockerString(value)}`),
  ];
  if (workdir !== null) lines.push(`WORKDIR ${dockerWord(workdir)}`);
  if (entrypoint !== null) lines.push(`ENTRYPOINT ${JSON.stringify(entrypoint)}`);
  if (cmd !== null) lines.push(`CMD ${JSON.stringify(cmd)}`);
  if (healthcheck !== null) {
    // What is 0 is the default, and buildah refuses to read it.
    const times = [
      ["interval", healthcheck.interval],
      ["timeout", healthcheck.timeout],
      ["start-period", healthcheck.startPeriod],
    ] as const;
    const flags = times.flatMap(([name, nanoseconds]) => (nanoseconds === 0 ? [] : [`--${name}=${nanoseconds / 1e9}s`]));
    lines.push(`HEALTHCHECK ${flags.join(" ")} --retries=${healthcheck.retries} \\\n    CMD ${JSON.stringify(healthcheck.test)}`);
  }
  // Last: whatever a builder runs before it runs as root.
  if (user !== null) lines.push(`USER ${user}`);
  return lines;
};
