import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { WrittenLayer } from "../oci-layout/write-layer.js";
import type { TrustLevel } from "../pipeline/common/trust-level.js";
import type { Ingredients } from "../pipeline/plan/key.js";
import type { StageKeys, Store } from "./ports.js";
import type { StageRecord } from "./stage-record.js";

/** A store for one call: a layout in a folder, and everything else in memory. Nothing is named in the layout: its caller names the image. */
export function layoutStore(layout: string, trust: TrustLevel): Store {
  mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
  const records = new Map<string, StageRecord>();
  const ingredients = new Map<string, Ingredients>();
  const keys = new Map<string, StageKeys>();
  const layers = new Map<string, WrittenLayer>();
  return {
    layout,
    trust,
    has: (key) => records.has(key),
    read: (key) => records.get(key) ?? null,
    keep: (record) => void records.set(record.key, record),
    ingredients: (key) => ingredients.get(key) ?? null,
    keepIngredients: (key, value) => void ingredients.set(key, value),
    lastKeys: (image, platform) => keys.get(`${image} ${platform}`) ?? {},
    keepLastKeys: (image, platform, more) =>
      void keys.set(`${image} ${platform}`, { ...keys.get(`${image} ${platform}`), ...more }),
    name: async () => undefined,
    layers: (anew) => ({
      get: (layerKey) => (anew ? undefined : layers.get(layerKey)),
      set: (layerKey, layer) => void layers.set(layerKey, layer),
    }),
    // Frames are for the next layer of the same stage, which another call writes.
    frames: () => ({ get: () => null, set: () => undefined }),
  };
}
