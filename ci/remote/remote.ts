/**
 * # ci/remote
 *
 * The registry as a source of cached stages for a build on this machine. Of a stage only what is needed is fetched, when it is needed.
 */
import type { RegistryCache } from "../../dagger/src/build/registry-stage-cache.js";
import type { BesideImage } from "../../dagger/src/distribution/beside-image.js";
import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import type { Repository } from "../../dagger/src/registry/client.js";
import type { Traffic } from "./registry-client.js";

/** auto: the registry's answers are used, and a missing answer is warned of once. require: nothing runs without its answer. */
export type RemoteUse = "auto" | "off" | "require";
const uses: readonly RemoteUse[] = ["auto", "off", "require"];

/** The registry behind an image. */
export type Remote = RegistryCache & {
  /** Where stage artifacts are looked for, in order: the image's repository, and for a branch the sibling. */
  read: readonly Repository[];
  /** Where the image, its stage artifacts and its tags go: the image's repository, for a branch the sibling; null for a fork. */
  write: Repository | null;
  traffic: Traffic;
  beside: BesideImage;
  /** A repository by `registry/repository`, of any registry. @throws FactoryError REFERENCE_INVALID */
  repository(name: string): Repository;
};

/** @throws FactoryError USAGE */
export const remoteUseOf = (text: string): RemoteUse =>
  wordOf(text, uses, { what: `cannot read REMOTE=${text}`, known: "it is one of" });
