import { basename, dirname, join } from "node:path";
import type { Directory, ImageLayerCompression, Platform as EnginePlatform } from "@dagger.io/dagger";
import type { Context } from "./stage-container.js";
import type { Plan } from "../pipeline/plan/types.js";
import type { Platform } from "../pipeline/common/stage.js";

/**
 * Our words as the library's types have them: branded texts and enums, whose members are called differently in an engine's generated SDK
 * and in the npm package. The words themselves are the engine's and the same in both.
 */
export const enginePlatform = (platform: Platform): EnginePlatform => platform as string as EnginePlatform;

/** Layers of the base are compressed again, so that an image holds one kind. */
export const engineCompression = ({ compression }: Pick<Plan, "compression">): ImageLayerCompression =>
  (compression === "zstd" ? "Zstd" : "Gzip") as ImageLayerCompression;

/** A path as a pattern of Docker's dialect that matches nothing else. */
export const literal = (path: string): string => path.replaceAll(/[\\*?[\]]/g, String.raw`\$&`);

/** @param open a folder below the context's own, as the engine takes it from the machine that it stands on */
export const contextOf = (open: (path: string, include: readonly string[]) => Directory): Context => ({
  folder: (path) => open(path, []),
  file: (path) => open(join(dirname(path)), [literal(basename(path))]).file(basename(path)),
});
