/**
 * # ci/outputs
 *
 * An image written to a file, a folder or a stream. A target is replaced whole or not at all.
 */
import { FactoryError, interrupted } from "../../dagger/src/pipeline/common/error.js";
import { suggestion } from "../../dagger/src/pipeline/common/suggest.js";
import { writeDockerArchive } from "./docker-archive.js";
import { writeLayout } from "./oci-layout.js";
import { refuseKept } from "./place.js";
import type { Source } from "./source.js";
import { writeTar } from "./tar.js";

type Output = { about: string; write(source: Source, target: string, signal: AbortSignal): Promise<void> };

/** Every form in which an image leaves the state folder. The only list. */
const outputs = {
  oci: { about: "an OCI layout in a folder", write: writeLayout },
  tar: { about: "an OCI layout as one tar file", write: writeTar },
  docker: { about: "a tar file for docker load and podman load", write: writeDockerArchive },
} satisfies Record<string, Output>;

/** What stands in the way of a path is the person's to clear; a full disk or a missing right has an error of its own. */
const guarded = ({ about, write }: Output): Output => ({
  about,
  async write(source, target, signal) {
    try {
      refuseKept(target, source.kept ?? []);
      await write(source, target, signal);
    } catch (error) {
      if (signal.aborted && !(error instanceof FactoryError))
        throw interrupted(`writing ${target} was stopped on request`, error);
      if (!(error instanceof Error && "code" in error && obstacles.has(String(error.code)))) throw error;
      throw new FactoryError("OUTPUT_FAILED", {
        what: `cannot write ${target}`,
        why: error.message,
        fix: "name another place, or clear the way to this one",
        cause: error,
      });
    }
  },
});
const obstacles = new Set([
  "EEXIST",
  "ENOTDIR",
  "EISDIR",
  "ENAMETOOLONG",
  "ELOOP",
  "EBUSY",
  "ETXTBSY",
  "EPIPE",
  "ENXIO",
  "ENOTEMPTY",
]);

/** `oci:DIR`, `tar:FILE`, `docker:FILE`. @throws FactoryError USAGE */
export const parseOutput = (text: string): { output: Output; target: string } => {
  const at = text.indexOf(":");
  const kind = at < 0 ? text : text.slice(0, at);
  const target = text.slice(at + 1);
  const known = Object.entries(outputs).find(([name]) => name === kind);
  if (known !== undefined && at > 0 && target !== "") return { output: guarded(known[1]), target };
  throw new FactoryError("USAGE", {
    what: `cannot write OUTPUT=${text}`,
    why: Object.entries(outputs)
      .map(([name, { about }]) => `${name}:PATH is ${about}`)
      .join("\n"),
    fix:
      known === undefined
        ? suggestion(kind, Object.keys(outputs))
        : `for example: OUTPUT=${kind}:./image${kind === "oci" ? "" : ".tar"}`,
  });
};
