import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Remembered, RememberedFrames } from "../../dagger/src/oci-layout/write-stage.js";
import type { KnownFrames } from "../../dagger/src/oci-layout/frames.js";
import { isTrustedAt, type TrustLevel } from "../../dagger/src/pipeline/common/trust-level.js";
import type { WrittenLayer } from "../../dagger/src/oci-layout/write-layer.js";
import { readNote, writeNote } from "../host/note.js";
import type { State } from "./state.js";

/** By whom a note was made: one of a lower trust level is as good as none. */
type Signed = { trust: TrustLevel };

const readSigned = <T extends Signed>({ trust }: State, file: string): T | null => {
  const note = readNote<T>(file);
  return note !== null && isTrustedAt(note.trust, trust) ? note : null;
};

/** Layers by layer key, one small file each, so that two builds at once need no lock. */
export const rememberedLayers = (state: State, anew: boolean): Remembered => {
  const file = (key: string) => join(state.root, "layers", `${key}.json`);
  return {
    get: (key) => (anew ? undefined : readSigned<Signed & { layer: WrittenLayer }>(state, file(key))?.layer),
    set: (key, layer) => writeNote(file(key), { trust: state.trust, layer }),
  };
};

/** The frames of the layer that a stage of an image had last: one note for each, in place of the one before. */
export const rememberedFrames = (state: State, place: string, anew: boolean): RememberedFrames => {
  const file = join(state.root, "frames", `${place}.json`);
  return {
    get(encoder) {
      const note = anew ? null : readSigned<Signed & KnownFrames & { encoder: string }>(state, file);
      return note?.encoder === encoder ? note : null;
    },
    set(encoder, made) {
      // Renaming over a file makes ext4 write the new one out at once; a note that is absent for a moment costs nobody anything.
      rmSync(file, { force: true });
      writeNote(file, { encoder, trust: state.trust, ...made });
    },
  };
};
