import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../../ci/host/process.js";
import { clientFile } from "./client-file.js";
import type { Session } from "./session.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

export type Told = { name: string; result?: unknown; error?: string };

/** Calls functions of the module as its runtime does, in one process, against a session. Ids stand for objects in `args`. */
export const callModule = async (
  session: Session,
  scratch: string,
  calls: readonly { name: string; args: Record<string, unknown> }[],
): Promise<Told[]> => {
  const work = mkdtempSync(join(tmpdir(), "dagger-call-"));
  try {
    mkdirSync(scratch, { recursive: true });
    writeFileSync(join(work, "calls.json"), JSON.stringify(calls));
    const runner = join(root, "test/dagger-session/runner.ts");
    const tsx = join(root, "node_modules/tsx/dist/loader.mjs");
    const done = await run(process.execPath, ["--import", tsx, runner, join(work, "calls.json"), join(work, "results.json")], {
      cwd: scratch,
      env: { ...session.env, TEST_CLIENT_GEN: clientFile(work), TSX_TSCONFIG_PATH: join(root, "dagger/tsconfig.json") },
    });
    if (done.exitCode !== 0) throw new Error(`the runtime ended with ${done.exitCode}: ${done.stdout}${done.stderr}`);
    return JSON.parse(readFileSync(join(work, "results.json"), "utf8")) as Told[];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};
