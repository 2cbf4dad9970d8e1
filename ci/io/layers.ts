import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Remembered } from "../../dagger/src/assemble.js";
import type { WrittenLayer } from "../../dagger/src/write-layer.js";
import { replaceFile } from "./oci-layout.js";
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
