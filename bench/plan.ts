import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { type Contender, interleave, nodeStart, pairByPair, runOnce, spread } from "./interleave.js";
import { benchProject, task, tree } from "./project.js";
import { type Goal, print, ratioGoal, roundsOf } from "./report.js";
import { progress } from "./scratch.js";

/** What a plan of a large tree costs, beside `git status` on the same tree: `./task bench:plan [-- ROUNDS] [-- --json]`. */
const argv = process.argv.slice(2);
const rounds = roundsOf(argv, 11);
const folder = benchProject();
const treeFolder = join(folder, "tree");

const contenders: Contender[] = [
  { name: "git status", command: ["git", "status", "--porcelain"], cwd: treeFolder },
  nodeStart(folder),
  { name: "plan", command: task("plan", "IMAGE=tree", "REMOTE=off"), cwd: folder },
  { name: "plan of 101 files", command: task("plan", "IMAGE=app", "REMOTE=off"), cwd: folder },
];

/**
 * How many system calls of a command name something in an ignored folder, or the folder itself: strace sees every path that
 * reaches the kernel. Null where there is no strace, or it may not look.
 */
const callsInto = (ignored: readonly string[], { command, cwd }: Pick<Contender, "command" | "cwd">): number | null => {
  const work = mkdtempSync(join(tmpdir(), "bench-plan-"));
  try {
    const log = join(work, "calls");
    runOnce({ command: ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o", log, ...command], cwd });
    // A path is told from the folder that the command runs in, or whole.
    const places = ignored.flatMap((place) => [join(treeFolder, place), relative(cwd, join(treeFolder, place))]);
    const names = places.flatMap((place) => [`"${place}"`, `"${place}/`]);
    const calls = readFileSync(log, "utf8").split("\n");
    if (!calls.some((call) => call.includes("execve("))) return null;
    return calls.filter((call) => names.some((name) => call.includes(name))).length;
  } catch (error) {
    progress(`not counted: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};

const count = (places: Readonly<Record<string, number>>) => Object.values(places).reduce((sum, files) => sum + files, 0);

const times = await interleave(contenders, rounds, progress);
const of = (name: string) => times.get(name) ?? [];
// What the tree adds to a plan: the processes that both start cancel out.
const added = of("plan").map((milliseconds, round) => milliseconds - of("plan of 101 files")[round]!);
const [, , plan] = contenders;
const ignored = [...Object.keys(tree.left), ".git"];
const calls = callsInto(ignored, plan!);
const gitCalls = callsInto(Object.keys(tree.left), contenders[0]!);

const goals: Goal[] = [
  ratioGoal("plan ≤ 3 × git status", 3, of("plan"), of("git status"), "whole processes: ./task, Task, Node and all"),
  {
    text: "what the tree adds to a plan ≤ 3 × git status",
    limit: 3,
    unit: "×",
    value: pairByPair(added, of("git status")),
    how: "less the plan of 101 files, which starts the same processes",
  },
  ...(calls === null
    ? []
    : ([
        {
          text: "ignored trees are never read",
          limit: 0,
          unit: "calls",
          value: spread([calls]),
          how: `system calls that name anything in ${ignored.join(", ")}: strace -f -e trace=%file`,
        },
      ] as const)),
];

print(
  {
    title: "Plan of a large tree beside git status",
    setup: [
      `${count(tree.sent) + count(tree.tracked) + count(tree.left)} files of 50 kB: ${count(tree.sent)} go into the image, ${count(tree.tracked)} are tracked and stay out (*.md),`,
      `${count(tree.left)} are ignored by git and by .dockerignore (${Object.keys(tree.left).join(", ")})`,
    ],
    versions: {
      Task: runOnce({ command: task("--version"), cwd: folder }).stdout.trim(),
      git: runOnce({ command: ["git", "--version"], cwd: folder })
        .stdout.replace("git version ", "")
        .trim(),
    },
    rounds,
    contenders,
    times,
    goals,
    remarks: [
      ...(gitCalls === null
        ? ["System calls were not counted: strace is not installed or may not look."]
        : [`git status makes ${gitCalls} such calls (.git not counted).`]),
      "git status is one process of C that reads its index; a plan starts a shell, Task and Node, and hashes what changed. Hashes of unchanged files are kept.",
    ],
  },
  argv,
);
