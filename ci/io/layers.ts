import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Remembered, RememberedFrames } from "../../dagger/src/assemble.js";
import type { KnownFrames } from "../../dagger/src/frames.js";
import type { WrittenLayer } from "../../dagger/src/write-layer.js";
import { replaceFile } from "./replace-file.js";
import type { State } from "./state.js";

/** Layers by layer key, one small file each, so that two builds at once need no lock. A damaged note is as good as none. */
export const rememberedLayers = (state: State, anew: boolean): Remembered => {
  const file = (key: string) => join(state.root, "layers", `${key}.json`);
  return {
    get(key) {
      if (anew) return undefined;
      try {
        return JSON.parse(readFileSync(file(key), "utf8")) as WrittenLayer;
      } catch {
        return undefined;
      }
    },
    set: (key, layer) => replaceFile(file(key), `${JSON.stringify(layer)}\n`),
  };
};

/** The frames of the layer that a stage of an image had last: one note for each, in place of the one before. */
export const rememberedFrames = (state: State, place: string, anew: boolean): RememberedFrames => {
  const file = join(state.root, "frames", `${place}.json`);
  return {
    get(encoder) {
      if (anew) return null;
      try {
        const note = JSON.parse(readFileSync(file, "utf8")) as KnownFrames & { encoder: string };
        return note.encoder === encoder && Array.isArray(note.frames) ? note : null;
      } catch {
        return null;
      }
    },
    set(encoder, made) {
      // Renaming over a file makes ext4 write the new one out at once; a note that is absent for a moment costs nobody anything.
      rmSync(file, { force: true });
      replaceFile(file, `${JSON.stringify({ encoder, ...made })}\n`);
    },
  };
};
