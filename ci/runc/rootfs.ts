import { randomBytes } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openIn } from "../../dagger/src/oci-layout/index-layers.js";
import { readBlob, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { ImageConfig } from "../../dagger/src/pipeline/oci/image-config.js";
import { isAlive, nameOfProcess } from "../host/process-lock.js";
import { ensureHostPrograms, type HostEnv } from "../host/programs.js";
import { run } from "../host/process.js";
import type { State } from "../state/state.js";
import { unpackLayers } from "../host/unpack-layers.js";
import { capabilityFor } from "./file-capability.js";
import { idShift } from "./id-shift.js";

/**
 * An image unpacked into a folder of this machine, for containers to run in and for looking at; `close` removes it. `shift` is how far
 * the owners of its files were shifted (id-shift.ts).
 */
export type Root = { folder: string; shift: number; config: ImageConfig; close(): void };

type RootfsContext = { state: State; env: HostEnv; report: (line: string) => void; signal?: AbortSignal };

/**
 * Unpacks an image of the state folder's layout. No engine is needed: whoever may start a container may give files their owners.
 * @throws FactoryError PERMISSION when not root, CHECKSUM_MISMATCH, INTERRUPTED, HOST_TOOL_MISSING for files with capabilities where
 * there is no setfattr
 */
export const openRoot = async (digest: string, { state, env, report, signal }: RootfsContext): Promise<Root> => {
  if (process.getuid?.() !== 0) {
    throw new FactoryError("PERMISSION", {
      what: "cannot run a container as this user",
      why: "only root can unpack an image with the owners of its files and start it",
      fix: "run it with sudo, or write the image with OUTPUT=docker:image.tar and use podman or docker",
    });
  }
  const own = newFolder(join(state.root, "roots"));
  // Nobody else on this machine can reach a program of the image that has a setuid bit.
  const folder = join(own, "rootfs");
  const close = () => rmSync(own, { recursive: true, force: true });
  try {
    mkdirSync(folder);
    const { config, layers } = readManifest(state.layout, digest);
    const shift = idShift();
    if (shift === 0)
      report("note: this machine gives no user namespace; the container's root is this machine's, with Docker's limits");
    const { xattrs } = await unpackLayers(layers, openIn(state.layout), folder, { signal, shift });
    if (xattrs.length > 0) {
      const setfattr = (await ensureHostPrograms([{ program: "setfattr", apt: "attr" }], env, report, signal)).get("setfattr")!;
      for (const { path, name, value } of xattrs) {
        const own = name === "security.capability" ? capabilityFor(value, shift) : value;
        const words = ["--no-dereference", "--name", name, "--value", `0s${own}`, "--", `${folder}${path}`];
        const { exitCode, stderr } = await run(setfattr, words);
        // An attribute of a namespace that this file system does not have changes nothing that runs.
        if (exitCode !== 0) report(`${path}: ${stderr.trim()}`);
      }
    }
    return { folder, shift, config: readBlob<ImageConfig>(state.layout, config.digest), close };
  } catch (error) {
    close();
    throw error;
  }
};

/** A folder that is new, private and removed at the next start when this process dies. Beside the layers: where they have room, what they hold has. */
const newFolder = (roots: string): string => {
  mkdirSync(roots, { recursive: true, mode: 0o700 });
  // A checkout may bring a link of this name.
  if (!lstatSync(roots).isDirectory()) {
    throw new FactoryError("PERMISSION", {
      what: `will not unpack an image into ${roots}`,
      why: "it is a link, and not a folder of the state folder",
      fix: `remove it: rm ${roots}`,
    });
  }
  chmodSync(roots, 0o700);
  for (const name of readdirSync(roots))
    if (ownName.test(name) && !isAlive(name)) rmSync(join(roots, name), { recursive: true, force: true });
  const folder = join(roots, `${nameOfProcess(process.pid)}-${randomBytes(4).toString("hex")}`);
  mkdirSync(folder, { mode: 0o700 });
  return folder;
};
const ownName = /^\d+-\d+-(?:[0-9a-f]{16}-)?[0-9a-f]{8}$/;
