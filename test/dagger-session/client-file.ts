import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Classes of the client as the engine's generated file has them: names are all that the introspector takes of them. */
export const clientFile = (folder: string): string => {
  const client = new URL("../../node_modules/@dagger.io/dagger/dist/src/api/client.gen.d.ts", import.meta.url);
  const types = readFileSync(fileURLToPath(client), "utf8");
  const names = [...types.matchAll(/^export declare class (\w+) /gm)].map((found) => found[1]);
  const file = join(folder, "client.gen.ts");
  writeFileSync(file, names.map((name) => `export class ${name} {}\n`).join(""));
  return file;
};
