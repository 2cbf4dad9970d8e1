import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openIn } from "../../dagger/src/index-layers.js";
import { readBlob, readManifest } from "../../dagger/src/layout.js";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import type { ImageConfig } from "../../dagger/src/pipeline/image-config.js";
import { isAlive, nameOfProcess } from "../io/alive.js";
import { ensureHostPrograms, type HostEnv } from "../io/host.js";
import { run } from "../io/process.js";
import type { State } from "../io/state.js";
import { unpackLayers } from "../io/unpack.js";

/** An image unpacked into a folder of this machine, for containers to run in and for looking at; `close` removes it. */
export type Root = { folder: string; config: ImageConfig; close(): void };

type Surroundings = { state: State; env: HostEnv; report: (line: string) => void; signal?: AbortSignal };

/**
 * Unpacks an image of the state folder's layout. No engine is needed: whoever may start a container may give files their owners.
 * @throws FactoryError PERMISSION when not root, CHECKSUM_MISMATCH, INTERRUPTED, HOST_TOOL_MISSING for files with capabilities where
 * there is no setfattr
 */
export const openRoot = async (digest: string, { state, env, report, signal }: Surroundings): Promise<Root> => {
  if (process.getuid?.() !== 0) {
    throw new FactoryError("PERMISSION", {
      what: "cannot run a container as this user",
      why: "only root can unpack an image with the owners of its files and start it",
      fix: "run it with sudo, or write the image with OUTPUT=docker:image.tar and use podman or docker",
    });
  }
  // Beside the layers: where they have room, what they hold has.
  const roots = join(state.root, "roots");
  mkdirSync(roots, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(roots)) if (!isAlive(name)) rmSync(join(roots, name), { recursive: true, force: true });
  const folder = join(roots, `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`);
  const close = () => rmSync(folder, { recursive: true, force: true });
  try {
    mkdirSync(folder);
    const { config, layers } = readManifest(state.layout, digest);
    const { xattrs } = await unpackLayers(layers, openIn(state.layout), folder, { signal });
    if (xattrs.length > 0) {
      const setfattr = (await ensureHostPrograms([{ program: "setfattr", apt: "attr" }], env, report, signal)).get("setfattr")!;
      for (const { path, name, value } of xattrs) {
        const words = ["--no-dereference", "--name", name, "--value", `0s${value}`, "--", `${folder}${path}`];
        const { exitCode, stderr } = await run(setfattr, words);
        // An attribute of a namespace that this file system does not have changes nothing that runs.
        if (exitCode !== 0) report(`${path}: ${stderr.trim()}`);
      }
    }
    return { folder, config: readBlob<ImageConfig>(state.layout, config.digest), close };
  } catch (error) {
    close();
    throw error;
  }
};
