import type { Executor } from "../../dagger/src/build/ports.js";
import type { EngineSite } from "./engine-site.js";

/** An engine as the executor of a build. What engines and bootstrapping need is loaded with the first stage: most builds execute none. */
export const engineExecutor = (site: EngineSite): Executor => ({
  execute: async (execution) => (await import("./execute-stage.js")).executeStage(site, execution),
});
