import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, Script } from "node:vm";
import { replaceFile } from "./io/replace-file.js";

/**
 * Starts the compiled program. What V8 compiled of it in an earlier run of the same command is loaded and not compiled again:
 * a fifth of what a plan or a build takes beyond Node's own start. Node 22 can do the same by itself (module.enableCompileCache),
 * Node 20 cannot. A cache that is damaged, of another Node or of another program is as good as none.
 */
const folder = dirname(fileURLToPath(import.meta.url));
const file = join(folder, "program.cjs");

/** The hash of the rest stands first: V8 itself looks at versions, flags and lengths only. */
const hashLength = 32;
const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

const readCache = (path: string): Buffer | undefined => {
  try {
    const bytes = readFileSync(path);
    const rest = bytes.subarray(hashLength);
    return sha256(rest).equals(bytes.subarray(0, hashLength)) ? rest : undefined;
  } catch {
    return undefined;
  }
};

const run = (): void => {
  const { mtimeMs, size } = statSync(file);
  const command = /^[a-z][a-z:-]{0,30}$/.exec(process.argv[2] ?? "")?.[0] ?? "help";
  const cache = join(folder, "compiled", `${command}-${mtimeMs}-${size}`);
  const cachedData = readCache(cache);
  // The bundler writes nothing but ASCII: read as Latin 1 it takes one byte a character in memory too.
  const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, "latin1")}\n})`;
  const script = new Script(source, {
    filename: file,
    ...(cachedData === undefined ? {} : { cachedData }),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  if (cachedData === undefined || script.cachedDataRejected === true) {
    // At the end, because only then it is known what of the program the command needs.
    process.once("exit", (code) => {
      if (code === 0) keepCache(cache, script.createCachedData());
    });
  }
  const program = script.runInThisContext() as (...scope: unknown[]) => void;
  const module = { exports: {} };
  program(module.exports, createRequire(file), module, file, folder);
};

const keepCache = (path: string, data: Buffer): void => {
  try {
    replaceFile(path, Buffer.concat([sha256(data), data]));
  } catch {
    // In a place that cannot be written each start compiles.
  }
};

run();
