import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * The module's runtime without an engine around it: what the SDK's entrypoint does with a call, by the library's own parts, for several calls
 * of one process. argv: a file of calls, a file for the results.
 */
type Asked = { name: string; args: Record<string, unknown> };
type Told = { name: string; result?: unknown; error?: string };

const root = fileURLToPath(new URL("../../", import.meta.url));
const library = join(root, "node_modules/@dagger.io/dagger/dist/src");
const part = async <T>(path: string): Promise<T> => (await import(pathToFileURL(join(library, path)).href)) as T;

const [calls, results] = process.argv.slice(2) as [string, string];
const { connection } = await import("@dagger.io/dagger");
const { scan } = await part<{ scan: (files: string[], name: string, load: boolean) => Promise<unknown> }>(
  "module/introspector/index.js",
);
const { load } = await part<{ load: (files: string[]) => Promise<unknown[]> }>("module/entrypoint/load.js");
const { Executor } = await part<{ Executor: new (modules: unknown[], scanned: unknown) => unknown }>("module/executor.js");
const { invoke } = await part<{ invoke: (executor: unknown, scanned: unknown, call: unknown) => Promise<unknown> }>(
  "module/entrypoint/invoke.js",
);

const source = join(root, "dagger/src");
const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => join(source, path));
// The engine hands over its own generated client beside the module's files; of it the scan reads names of classes.
const client = process.env["TEST_CLIENT_GEN"]!;
const scanned = await scan([...files, client], "image-factory", false);
const executor = new Executor(await load(files), scanned);

const told: Told[] = [];
await connection(async () => {
  for (const { name, args } of JSON.parse(readFileSync(calls, "utf8")) as Asked[]) {
    const call = { parentName: "ImageFactory", fnName: name, parentArgs: {}, fnArgs: args };
    try {
      told.push({ name, result: await invoke(executor, scanned, call) });
    } catch (error) {
      told.push({ name, error: error instanceof Error ? error.message : String(error) });
    }
  }
});
writeFileSync(results, JSON.stringify(told));
