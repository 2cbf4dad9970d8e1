/**
 * # ci/lock/common
 *
 * What the resolvers of a lock share: the parts of a lock, answers and their limits, downloads. An answer is believed only in the shape that
 * is expected.
 */
import type { Platform } from "../../../dagger/src/pipeline/common/stage.js";
import type { Lock } from "../../../dagger/src/pipeline/config/lock.js";
import type { Locate } from "../../../dagger/src/pipeline/config/parse.js";
import type { Engine } from "../../engines/interface/engine.js";
import type { Base } from "../../../dagger/src/pipeline/steps/base.js";
import type { World } from "../../host/world.js";
import type { Project, OpenImage } from "../../project/project.js";
import type { Net } from "./http.js";

/** What a resolver works on. `lock` is changed in place: what cannot be resolved stays as it was. */

export type Resolving = {
  project: Project;
  open: OpenImage;
  world: World;
  lock: Lock;
  net: Net;
  bases: BaseAccess;
  /** Where a path of images.yaml stands in its text. */
  locate: Locate;
  /** Resolve what the lock already answers, too. */
  update: boolean;
};
/** For what only a base itself can answer. It arrives from above: a resolver knows no engine and makes no base. */

type BaseAccess = {
  /** Looked for when it is first asked for; the caller releases it. */
  engine(): { get(): Promise<Engine>; release(): Promise<void> };
  /** The digest of a bootstrapped base in the state's layout. */
  base(base: Extract<Base, { kind: "bootstrap" }>, platform: Platform): Promise<string>;
};
/** One part of a lock that can be resolved, and fail, on its own. */

export type Part = { what: string; resolve(): Promise<void> };
