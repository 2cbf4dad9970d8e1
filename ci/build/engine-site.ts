import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import type { Engine } from "../engines/interface/engine.js";
import type { World } from "../host/world.js";
import type { OpenImage, Project } from "../project/project.js";

/** What executing a stage on this machine needs beside the stage. */
export type EngineSite = {
  project: Project;
  open: OpenImage;
  world: World;
  /** Called only when a stage is executed. */
  engine: () => Promise<Engine>;
  emit: (event: BuildEvent) => void;
};
