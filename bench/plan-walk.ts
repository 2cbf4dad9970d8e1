import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadHashes, saveHashes } from "../ci/io/hash-cache.js";
import { run } from "../ci/io/process.js";
import { gatherFacts, measureContext } from "../dagger/src/facts.js";
import { compileIgnore, readIgnoreLines } from "../dagger/src/pipeline/select.js";

/**
 * How long it takes to find out what is sent, beside `git status` on the same tree: 10,000 files of 50 kB, most of them
 * in ignored folders. Run: npx tsx bench/plan-walk.ts
 * The same with `walk FOLDER CACHE`: one walk as `plan` makes it, in a process of its own.
 */
const ignore = readIgnoreLines("**/.git\n**/node_modules\n**/.venv\n**/__pycache__\n**/*.md\n");
const [mode, folder, cache] = process.argv.slice(2);

if (mode === "walk" && folder !== undefined && cache !== undefined) {
  const hashes = loadHashes(cache);
  const began = performance.now();
  const { entries } = await gatherFacts(folder, { roots: ["app"], texts: [], ignore }, { cache: hashes });
  const gathered = performance.now();
  const { files, bytes } = measureContext(folder, compileIgnore(ignore));
  saveHashes(cache, hashes);
  const ms = [gathered - began, performance.now() - gathered].map((time) => time.toFixed(1));
  console.log(`${entries.length} entries ${ms[0]} ms, whole context (${files} files, ${bytes} bytes) ${ms[1]} ms`);
} else {
  const work = mkdtempSync(join(tmpdir(), "plan-walk-"));
  try {
    const tree = join(work, "tree");
    const fill = (place: string, count: number) => {
      for (let n = 0; n < count; n++) {
        const into = join(tree, place, `d${Math.floor(n / 50)}`);
        if (n % 50 === 0) mkdirSync(into, { recursive: true });
        writeFileSync(join(into, `f${n}.txt`), Buffer.alloc(50_000, `${place} ${n} `));
      }
    };
    fill("app/src", 1_000);
    fill("docs", 500);
    fill("app/node_modules", 6_000);
    fill("node_modules", 2_500);
    writeFileSync(join(tree, ".gitignore"), "node_modules\n");
    const timed = async (name: string, program: string, args: readonly string[], cwd = process.cwd()) => {
      const began = performance.now();
      const { exitCode, stdout, stderr } = await run(program, args, { cwd });
      const note = exitCode === 0 ? (stdout.trim().split("\n").at(-1) ?? "") : `exit ${exitCode}: ${stderr}`;
      console.log(`${name.padEnd(22)} ${(performance.now() - began).toFixed(0).padStart(5)} ms  ${note}`);
    };
    const git = (...args: string[]) => ["-c", "user.name=bench", "-c", "user.email=bench@localhost", ...args];
    await run("git", git("init", "--quiet"), { cwd: tree });
    await run("git", git("add", "."), { cwd: tree });
    await run("git", git("commit", "--quiet", "--message", "bench"), { cwd: tree });
    for (let round = 0; round < 3; round++) {
      await timed("git status", "git", ["status", "--porcelain"], tree);
      await timed("node, nothing", process.execPath, ["--eval", "0"]);
      await timed("walk", process.execPath, ["--import", "tsx", import.meta.filename, "walk", tree, join(work, "hashes.json")]);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
