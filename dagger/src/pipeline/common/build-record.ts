import type { Platform, StageName } from "./stage.js";

/** What one build did; versioned, for programs. Sizes are of compressed layers, in bytes. */
export type BuildRecord = {
  format: 1;
  image: string;
  digest: string;
  seconds: number;
  platforms: readonly {
    platform: Platform;
    digest: string;
    stages: readonly {
      stage: StageName;
      key: string;
      action: "reuse" | "execute" | "assemble" | "compare";
      seconds: number;
      bytes: number;
      layers: number;
      /** Null for a stage that the one above holds, and that is not known by itself. */
      digest: string | null;
    }[];
  }[];
};
