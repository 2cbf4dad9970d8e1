import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/** How a command ended, as the person who typed it sees it. */
export type Ended = { code: number; stdout: string; stderr: string };
export type Env = Readonly<Record<string, string | undefined>>;
export type Running = { process: ChildProcess; ended: Promise<Ended> };

const checkout = fileURLToPath(new URL("../../../", import.meta.url));
/** In the checkout: the compressors are taken from its node_modules at run time. */
const folder = join(checkout, `.factory/test-bin-${process.pid}`);
let compiled = false;

/** The program as `./task` compiles it (Taskfile.yaml, `compile`), of what stands here now: a process starts in a tenth of a second. */
const program = (): string => {
  if (!compiled) {
    mkdirSync(folder, { recursive: true });
    buildSync({
      entryPoints: { factory: join(checkout, "ci/start.ts"), program: join(checkout, "ci/main.ts") },
      outdir: folder,
      bundle: true,
      platform: "node",
      target: "node22",
      format: "cjs",
      outExtension: { ".js": ".cjs" },
      external: ["@dagger.io/dagger"],
      define: { "import.meta.url": "here" },
      banner: { js: "var here=require('node:url').pathToFileURL(__filename).href;" },
      logLevel: "warning",
    });
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    compiled = true;
  }
  return join(folder, "factory.cjs");
};

/** What of the environment of this process could change what a test sees. */
const foreign = /^(?:FACTORY_|GITHUB_|GITLAB_|CI$|CI_|BUILDKIT_|DOCKER_|REGISTRY_AUTH_FILE$|XDG_)/;
const clean = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined || foreign.test(name) ? [] : [[name, value]])),
  );

/** @param prefix a program that starts the command, with its arguments: `setpriv --reuid 65534` */
export const startFactory = (cwd: string, words: readonly string[], env: Env = {}, prefix: readonly string[] = []): Running => {
  const [first, ...rest] = [...prefix, process.execPath, program(), ...words];
  const child = spawn(first!, rest, {
    cwd,
    env: { ...clean(), NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
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

export const factory = (cwd: string, words: readonly string[], env: Env = {}, prefix: readonly string[] = []): Promise<Ended> =>
  startFactory(cwd, words, env, prefix).ended;
