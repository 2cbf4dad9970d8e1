import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeLayout } from "../../../ci/outputs/oci-layout.js";
import { blobPath } from "../../../dagger/src/oci-layout/blobs.js";
import { mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { factory } from "./factory.js";
import { takeSharedBase } from "./shared-base.js";
import { startWeb, type Web } from "./web.js";

/** A copy of fixtures/small that a test may change, locked, with its state beside it. */
export type Small = {
  /** Everything of the test: `close` removes it. */
  root: string;
  project: string;
  /** Environment of every command: the state folder of the test. */
  env: Record<string, string>;
  web: Web;
  /** The name of the bootstrapped base in the state folder's layout. */
  base: string;
  /** Gives another state folder the bootstrapped base, which takes longer than all the rest; bootstrap.test.ts holds that it comes out equal. */
  giveBase(state: string): Promise<void>;
  /** Changes a file of the project. */
  edit(path: string, change: (text: string) => string): Promise<void>;
  close(): Promise<void>;
};

const fixture = fileURLToPath(new URL("../fixtures/small", import.meta.url));
const hello = (version: string) => `#!/bin/sh\necho hello ${version}\n`;

/** Makes the project and resolves its lock, as a person would: with `factory lock`. */
export const openSmall = async (): Promise<Small> => {
  const root = await mkdtemp(join(tmpdir(), "factory-small-"));
  const project = join(root, "project");
  await cp(fixture, project, { recursive: true });
  const web = await startWeb((path) => {
    const version = /^\/hello-([\d.]+)-linux-(?:amd64|arm64)$/.exec(path)?.[1];
    return version === undefined ? undefined : hello(version);
  });
  const env = { FACTORY_STATE: join(root, "state") };
  const close = async () => {
    await factory(project, ["engine", "stop"], env);
    await web.close();
    await rm(root, { recursive: true, force: true });
  };
  const edit: Small["edit"] = async (path, change) =>
    writeFile(join(project, path), change(await readFile(join(project, path), "utf8")));
  let base: string;
  try {
    await edit("images.yaml", (text) => text.replace("http://127.0.0.1:8080", web.address).replace("linux/amd64", platform));
    const { code, stderr } = await factory(project, ["lock"], env);
    if (code !== 0) throw new Error(`lock ended with ${code}\n${stderr}`);
    base = await takeSharedBase(project, env);
  } catch (error) {
    await close();
    throw error;
  }
  const giveBase: Small["giveBase"] = async (state) => {
    const [from, records] = [join(env.FACTORY_STATE, "layout"), join(env.FACTORY_STATE, "stages")];
    await mkdir(join(state, "stages"), { recursive: true });
    for (const name of await readdir(records)) {
      const { key, stage, digest } = JSON.parse(await readFile(join(records, name), "utf8")) as Record<
        "key" | "stage" | "digest",
        string
      >;
      if (stage !== "base") continue;
      await cp(join(records, name), join(state, "stages", name));
      const { size } = await stat(blobPath(from, digest));
      const root = { mediaType: mediaTypes.manifest, digest, size };
      await writeLayout({ layout: from, root, name: `base-${key}` }, join(state, "layout"));
    }
  };
  return { root, project, env, web, base, giveBase, edit, close };
};

export const platform = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
