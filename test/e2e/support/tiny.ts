import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pushBusybox } from "./busybox.js";
import { startRegistry, type TestRegistry } from "./registry.js";
import { platform } from "./small.js";

/** Images that take a second: steps that run, on a busybox from a registry of this machine. */
export type Tiny = {
  root: string;
  registry: TestRegistry;
  /** The base with its digest. */
  base: string;
  /** Environment of every command: the state folder of the test, and a temporary one that goes with it. */
  env: { FACTORY_STATE: string; TMPDIR: string };
  /** A new project whose base-tools stage is given (YAML, in braces or not), on the base of this file unless told otherwise. */
  project(baseTools: string, more?: { base?: string; top?: string }): Promise<string>;
  close(): Promise<void>;
};

export const openTiny = async (): Promise<Tiny> => {
  const root = await mkdtemp(join(tmpdir(), "factory-tiny-"));
  const registry = await startRegistry(join(root, "registry"));
  const base = await pushBusybox(root, registry);
  await mkdir(join(root, "tmp"));
  let count = 0;
  return {
    root,
    registry,
    base,
    env: { FACTORY_STATE: join(root, "state"), TMPDIR: join(root, "tmp") },
    async project(baseTools, more = {}) {
      const folder = join(root, `project-${(count += 1)}`);
      await mkdir(folder);
      const image = more.base ?? `{ image: "${base}", packages: apt }`;
      await writeFile(
        join(folder, "images.yaml"),
        `registry: registry.example/team\n${more.top ?? ""}images:\n  tiny:\n    repository: tiny\n    platforms: [${platform}]\n    base: ${image}\n    stages: { base-tools: { ${baseTools} }, dependencies: {}, application: {}, runtime: {} }\n`,
      );
      return folder;
    },
    async close() {
      await registry.close();
      await rm(root, { recursive: true, force: true });
    },
  };
};
