import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import * as modules from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
import { replaceFile } from "./io/replace-file.js";

/**
 * Starts the compiled program. What V8 compiled of it in an earlier run is loaded and not compiled again: a fifth of what a plan or
 * a build takes beyond Node's own start. Since version 22 Node does so itself when it is asked; for 20 it is done here.
 */
const folder = dirname(fileURLToPath(import.meta.url));
const program = join(folder, "program.cjs");
const compiled = join(folder, "compiled");
const load = modules.createRequire(program);

/** The hash of the rest stands first: V8 itself looks at versions, flags and lengths only. */
const hashLength = 32;
const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** A cache that is damaged is as good as none. */
const readCache = (path: string): Buffer | undefined => {
  try {
    const bytes = readFileSync(path);
    const rest = bytes.subarray(hashLength);
    return sha256(rest).equals(bytes.subarray(0, hashLength)) ? rest : undefined;
  } catch {
    return undefined;
  }
};

const keepCache = (path: string, data: Buffer): void => {
  try {
    replaceFile(path, Buffer.concat([sha256(data), data]));
  } catch {
    // In a place that cannot be written each start compiles.
  }
};

const startWithCache = (): void => {
  const { mtimeMs, size } = statSync(program);
  const command = /^[a-z][a-z:-]{0,30}$/.exec(process.argv[2] ?? "")?.[0] ?? "help";
  const cache = join(compiled, `${command}-${mtimeMs}-${size}`);
  const cachedData = readCache(cache);
  // The bundler writes nothing but ASCII: read as Latin 1 it takes one byte a character in memory too.
  const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(program, "latin1")}\n})`;
  // Without a way to import: with `cachedData` Node 20 forgets it, so that what imports would work once (test/cli/start.test.ts).
  const script = new Script(source, { filename: program, ...(cachedData === undefined ? {} : { cachedData }) });
  if (cachedData === undefined || script.cachedDataRejected === true) {
    // At the end, because only then it is known what of the program the command needs.
    process.once("exit", (code) => {
      if (code === 0) keepCache(cache, script.createCachedData());
    });
  }
  const run = script.runInThisContext() as (...scope: unknown[]) => void;
  const module = { exports: {} };
  run(module.exports, load, module, program, folder);
};

/** Taken away by the Taskfile, so that Node did not read all certificates before the first line; what is started from here needs it. */
const { FACTORY_NODE_EXTRA_CA_CERTS: certificates } = process.env;
if (certificates !== undefined) {
  delete process.env["FACTORY_NODE_EXTRA_CA_CERTS"];
  if (certificates === "") delete process.env["NODE_EXTRA_CA_CERTS"];
  else process.env["NODE_EXTRA_CA_CERTS"] = certificates;
}

if ("enableCompileCache" in modules) {
  (modules.enableCompileCache as (folder: string) => unknown)(compiled);
  load(program);
} else startWithCache();
