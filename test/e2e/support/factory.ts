import { type ChildProcess, spawn } from "node:child_process";
import { inject } from "vitest";
import type { BuildRecord } from "../../../dagger/src/pipeline/common/build-record.js";

/** How a command ended, as the person who typed it sees it. */
export type Ended = { code: number; stdout: string; stderr: string };
type Env = Readonly<Record<string, string | undefined>>;
export type Running = { process: ChildProcess; ended: Promise<Ended> };

/** What a CI says of itself would decide who may write where (ci/trust/trust-level.ts): a test says it itself. */
const noCi = { CI: undefined, GITHUB_ACTIONS: undefined, GITLAB_CI: undefined, FACTORY_SCOPE: "protected" };

/** Starts `factory …` in a folder, in a process group of its own: what a terminal's Ctrl-C reaches. */
export const startFactory = (cwd: string, words: readonly string[], env: Env = {}): Running => {
  const child = spawn(process.execPath, [inject("program"), ...words], {
    cwd,
    env: {
      ...process.env,
      ...noCi,
      BUILDKIT_HOST: undefined,
      FACTORY_BUILDKIT: "embedded",
      NO_COLOR: "1",
      FACTORY_REMOTE: "off",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => out.push(part));
  child.stderr.on("data", (part: Buffer) => err.push(part));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) =>
      resolve({ code: code ?? 128, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
  return { process: child, ended };
};

export const factory = (cwd: string, words: readonly string[], env: Env = {}): Promise<Ended> =>
  startFactory(cwd, words, env).ended;

/** `factory build … --json`: the record of a build that went well. */
export const built = async (
  cwd: string,
  words: readonly string[] = [],
  env: Env = {},
): Promise<{ record: BuildRecord; stderr: string }> => {
  const { code, stdout, stderr } = await factory(cwd, ["build", "--json", ...words], env);
  if (code !== 0) throw new Error(`build ended with ${code}\n${stderr}`);
  return { record: JSON.parse(stdout) as BuildRecord, stderr };
};

/** What a build did with each stage: `{ "base-tools": "execute", … }`. */
export const actionsOf = ({ platforms }: BuildRecord): Record<string, string> =>
  Object.fromEntries(platforms[0]!.stages.map(({ stage, action }) => [stage, action]));
