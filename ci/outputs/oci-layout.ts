import { copyFile, link, mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { blobPath, closure } from "../../dagger/src/layout.js";
import { type ImageIndex, mediaTypes, refName } from "../../dagger/src/pipeline/oci.js";
import type { Source } from "./index.js";

/**
 * Writes an image as an OCI layout of its own. The folder appears whole or not at all: an earlier one is replaced only by a
 * complete new one.
 * @throws FactoryError OUTPUT_FAILED where something that is no layout stands in the way
 */
export const writeLayout = async ({ layout, root, name }: Source, target: string): Promise<void> => {
  await refuseStranger(target);
  const draft = `${target}.${process.pid}.draft`;
  await rm(draft, { recursive: true, force: true });
  try {
    await mkdir(join(draft, "blobs", "sha256"), { recursive: true });
    for (const { digest } of closure(layout, root)) {
      const to = blobPath(draft, digest);
      // A link costs nothing; across file systems it cannot be.
      await link(blobPath(layout, digest), to).catch(() => copyFile(blobPath(layout, digest), to));
    }
    await writeFile(join(draft, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(join(draft, "index.json"), JSON.stringify(indexOf(root, name)));
    await rm(target, { recursive: true, force: true });
    await mkdir(dirname(target), { recursive: true });
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
};

export const indexOf = (root: Source["root"], name: string): ImageIndex => ({
  schemaVersion: 2,
  mediaType: mediaTypes.index,
  manifests: [{ ...root, annotations: { [refName]: name } }],
});

const refuseStranger = async (target: string): Promise<void> => {
  const there = await stat(target).catch(() => null);
  if (there === null) return;
  const isLayout = await stat(join(target, "oci-layout")).then(
    () => true,
    () => false,
  );
  if (there.isDirectory() && isLayout) return;
  throw new FactoryError("OUTPUT_FAILED", {
    what: `will not replace ${target}`,
    why: "it is there and is no OCI layout",
    fix: "name another folder, or remove it",
  });
};
