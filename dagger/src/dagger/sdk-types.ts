import { basename, dirname, join } from "node:path";
import type { Directory, ImageLayerCompression, Platform as EnginePlatform } from "@dagger.io/dagger";
import type { Context } from "./stage-container.js";
import type { Plan } from "../pipeline/plan/types.js";
import type { Platform } from "../pipeline/common/stage.js";

/**
 * Values in the types of the library: branded strings and enums, whose members have other names in an engine's generated SDK than in the npm
 * package. The values are the same in both.
 */
export const enginePlatform = (platform: Platform): EnginePlatform => platform as string as EnginePlatform;

/** Layers of the base are compressed again, so that an image holds one kind. */
export const engineCompression = ({ compression }: Pick<Plan, "compression">): ImageLayerCompression =>
  (compression === "zstd" ? "Zstd" : "Gzip") as ImageLayerCompression;

/** A path as a pattern of Docker's dialect that matches nothing else. */
export const literal = (path: string): string => path.replaceAll(/[\\*?[\]]/g, String.raw`\$&`);

/** @param open gives a folder of the context as a directory of the engine */
export const contextOf = (open: (path: string, include: readonly string[]) => Directory): Context => ({
  folder: (path) => open(path, []),
  file: (path) => open(join(dirname(path)), [literal(basename(path))]).file(basename(path)),
});
