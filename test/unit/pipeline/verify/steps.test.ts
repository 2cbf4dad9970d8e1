import { describe, expect, test } from "vitest";
import type { BuildEvent } from "../../../../dagger/src/pipeline/common/build-event.js";
import type { StageName } from "../../../../dagger/src/pipeline/common/stage.js";
import { countSteps } from "../../../../dagger/src/pipeline/verify/judge.js";

describe("the engine's steps", () => {
  const started = (step: string, name: string, stage: StageName): BuildEvent => ({
    type: "step-started",
    at: 0,
    step,
    name,
    stage,
  });
  const ended = (step: string, cached: boolean): BuildEvent => ({ type: "step-ended", at: 0, step, cached });

  test("are counted once each, without its chores and the assembler's", () => {
    const events = [
      started("a", "[internal] load build definition", "dependencies"),
      started("b", "[context base-tools] OCI load from client", "dependencies"),
      started("c", "install 3 Python packages", "dependencies"),
      ended("c", false),
      started("c", "install 3 Python packages", "dependencies"),
      ended("c", false),
      started("d", "run warm", "application"),
      ended("d", true),
      started("e", "exporting to oci image format", "dependencies"),
      started("application/amd64/layer", "assemble 3 paths", "application"),
      ended("application/amd64/layer", false),
    ];
    expect([...countSteps(events, (step) => step.endsWith("/layer"))]).toEqual([
      ["dependencies", { ran: 1, cached: 0 }],
      ["application", { ran: 0, cached: 1 }],
    ]);
  });
});
