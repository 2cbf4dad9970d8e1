import type { Store } from "../../dagger/src/build/ports.js";
import { rememberedFrames, rememberedLayers } from "./known-layers.js";
import { nameAllInLayout } from "./layout-index.js";
import { findIngredients, hasRecord, keepIngredients, keepLastKeys, keepStage, lastKeys, readRecord } from "./records.js";
import type { State } from "./state.js";

/** A state folder as the store of a build. */
export function storeOf(state: State): Store {
  const { layout, trust } = state;
  return {
    layout,
    trust,
    has: (key) => hasRecord(state, key),
    read: (key) => readRecord(state, key),
    keep: (record) => keepStage(state, record),
    ingredients: (key) => findIngredients(state, key),
    keepIngredients: (key, ingredients) => keepIngredients(state, key, ingredients),
    lastKeys: (image, platform) => lastKeys(state, image, platform),
    keepLastKeys: (image, platform, keys) => keepLastKeys(state, image, platform, keys),
    name: (images, signal) => nameAllInLayout(layout, images, signal),
    layers: (anew) => rememberedLayers(state, anew),
    frames: (place, anew) => rememberedFrames(state, place, anew),
  };
}
