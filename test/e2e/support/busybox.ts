import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { addRootImage } from "../../../ci/bootstrap/layout.js";
import { findProgram } from "../../../ci/host/programs.js";
import { run } from "../../../ci/host/process.js";
import type { TestRegistry } from "./registry.js";

/** A base of two megabytes: a static busybox under all its names. It has no `install`, so its images have run steps only. */
export const pushBusybox = async (folder: string, registry: TestRegistry): Promise<string> => {
  const busybox = await findProgram("busybox", process.env);
  if (busybox === null) throw new Error("no busybox");
  const root = join(folder, "busybox-root");
  for (const path of ["bin", "etc", "tmp", "root"]) await mkdir(join(root, path), { recursive: true });
  await copyFile(busybox, join(root, "bin/busybox"));
  for (const name of (await run(busybox, ["--list"])).stdout.trim().split("\n"))
    if (name !== "busybox") await symlink("busybox", join(root, "bin", name));
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  const layout = join(folder, "busybox-layout");
  await mkdir(layout, { recursive: true });
  const tar = join(layout, "root.tar");
  const packed = await run("tar", [
    "-cf",
    tar,
    "-C",
    root,
    "--sort=name",
    "--mtime=@0",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    ".",
  ]);
  if (packed.exitCode !== 0) throw new Error(packed.stderr);
  const bytes = await readFile(tar);
  const snapshot = { sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length, dpkgStatus: "" };
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  await addRootImage(layout, { tar, architecture, epoch: 0, name: "busybox", createdBy: "busybox" }, snapshot);
  return (await registry.push(`oci:${layout}:busybox`, "busybox")).reference;
};
