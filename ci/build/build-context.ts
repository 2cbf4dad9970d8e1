import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import type { World } from "../host/world.js";
import type { Engine } from "../engines/interface/engine.js";
import type { StageSource } from "../remote/stage-source.js";
import type { OpenImage, Project } from "../project/project.js";

/** What carrying out decisions needs beside them. */
export type Workshop = {
  project: Project;
  open: OpenImage;
  world: World;
  /** Asked for only when a stage must be executed. */
  engine: () => Promise<Engine>;
  /** Where layers come from that are not here. */
  remote: StageSource | null;
  emit: (event: BuildEvent) => void;
};
