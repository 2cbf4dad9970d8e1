import type { ImageLayerCompression, Platform as EnginePlatform } from "@dagger.io/dagger";
import type { Plan } from "./pipeline/plan.js";
import type { Platform } from "./pipeline/stage.js";

/**
 * Our words as the library's types have them: branded texts and enums, whose members are called differently in an engine's generated SDK
 * and in the npm package. The words themselves are the engine's and the same in both.
 */
export const enginePlatform = (platform: Platform): EnginePlatform => platform as string as EnginePlatform;

/** Layers of the base are compressed again, so that an image holds one kind. */
export const engineCompression = ({ compression }: Pick<Plan, "compression">): ImageLayerCompression =>
  (compression === "zstd" ? "Zstd" : "Gzip") as ImageLayerCompression;
