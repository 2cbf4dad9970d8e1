import type { Decision } from "../../dagger/src/pipeline/decide/decide.js";
import type { ParentIndex } from "../../dagger/src/pipeline/contents/parent-index.js";
import { readManifest } from "../../dagger/src/oci-layout/blobs.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { noteText } from "../../dagger/src/pipeline/explain/reasons-text.js";
import type { Descriptor } from "../../dagger/src/pipeline/oci/manifest.js";
import { notReproducible } from "../../dagger/src/pipeline/oci/stage-artifact.js";
import type { Plan, PlannedStage } from "../../dagger/src/pipeline/plan/types.js";
import { assemble } from "./assemble-stage.js";
import type { Workshop } from "./build-context.js";
import { ChainBroken } from "./chain-broken.js";
import { type Ground, groundOf } from "./parent-stage.js";
import { nameAllInLayout } from "../state/layout-index.js";
import { findStage, isBuiltOn, keepIngredients, keepLastKeys, keepStage, type StageRecord } from "../state/records.js";
import type { State } from "../state/state.js";
import type { StageResult, Rebuild } from "./stage-result.js";

/**
 * Carries out decisions from base-tools upwards, up to and with the wanted stage. Each stage is made on the result of the
 * one below as it is kept, so that the first machine and every later one take the same path to the same digest.
 * @throws ChainBroken where a stage would be made on anything else, whatever the decisions say
 * @throws FactoryError LOCK_STALE before anything runs, NOT_REPRODUCIBLE, and whatever an engine or the assembler throws
 */
export const runDecisions = async (
  shop: Workshop,
  plan: Plan,
  decisions: readonly Decision[],
  fresh: Rebuild,
): Promise<StageResult[]> => {
  refuseStale(plan, decisions);
  const { state } = shop.project;
  const done: StageResult[] = [];
  /** Images that are named in the layout when all is done, or as far as it went: each time takes as long as the file system writes. */
  const named: Record<string, Descriptor> = {};
  /** Stages that are executed already, on one whose ref is still being made. */
  const begun = new Map<PlannedStage, Promise<Made>>();
  const begin = async (at: number, ground: Ground | null): Promise<Made> =>
    make(shop, plan, onParent(decisions, at, ground), ground, fresh, (made) => {
      const next = decisions[at + 1];
      if (next?.action !== "execute" || fresh !== "no") return;
      const ahead = begin(at + 1, made);
      // Whoever comes to that stage hears of its failure, and nobody where this one fails first.
      ahead.catch(() => undefined);
      begun.set(next.stage, ahead);
    });
  let ground: Ground | null = null;
  try {
    for (const [at, decision] of decisions.entries()) {
      const { stage } = decision;
      const kept = keptOn(state, stage, ground);
      if (decision.reasons.some(({ why }) => why === "held")) {
        done.push({ decision, record: null, seconds: 0, layers: [], compared: false });
        continue;
      }
      const made = decision.action === "reuse" && kept !== null ? null : await (begun.get(stage) ?? begin(at, ground));
      if (made?.image !== undefined) named[`${stage.stage}-${stage.key}`] = made.image;
      if (made !== null) settle(shop, stage, kept, made.record, fresh);
      const record = made === null || (kept !== null && fresh === "compare") ? kept! : made.record;
      const compared = made !== null && record === kept;
      const below: ReadonlySet<string> = new Set(done.flatMap(({ layers }) => layers.map(({ digest }) => digest)));
      const layers = readManifest(state.layout, record.digest).layers.filter(({ digest }) => !below.has(digest));
      done.push({ decision, record, seconds: made?.record.seconds ?? 0, layers, compared });
      ground = groundOf(shop, stage, record, ground, made?.index);
      keepIngredients(state, stage.key, stage.ingredients);
      keepLastKeys(state, plan.image, plan.platform, { [stage.stage]: stage.key });
    }
    return done;
  } finally {
    await Promise.allSettled(begun.values());
    if (Object.keys(named).length > 0) await nameAllInLayout(state.layout, named, shop.world.signal);
  }
};

/** What is kept of a stage, unless it was built on something else than this image is. */
const keptOn = (state: State, { key, kind }: PlannedStage, ground: Ground | null): StageRecord | null => {
  const record = findStage(state, key);
  if (record === null || (ground === null && kind === "assembled")) return null;
  return ground === null || isBuiltOn(state, record, ground) ? record : null;
};

/** The stage to make, if this is the result of the stage below it. @throws ChainBroken */
const onParent = (decisions: readonly Decision[], at: number, ground: Ground | null): PlannedStage => {
  const { stage } = decisions[at]!;
  const below = at === 0 ? null : decisions[at - 1]!.stage.stage;
  if ((ground?.stage ?? null) === below) return stage;
  throw new ChainBroken(
    `${stage.stage} cannot be built: ${below ?? "nothing"} is what is below it`,
    `what is there is ${ground === null ? "nothing" : ground.stage}; what was kept changed since it was looked at`,
  );
};

/** A stage that was made just now; of an assembled one its image, which is not named yet, and the index of what it holds. */
type Made = { record: StageRecord; image?: Descriptor; index?: () => ParentIndex };

const make = async (
  shop: Workshop,
  plan: Plan,
  stage: PlannedStage,
  ground: Ground | null,
  fresh: Rebuild,
  executed: (ground: Ground) => void,
): Promise<Made> => {
  if (stage.kind === "assembled" && ground !== null) return assemble(shop, plan, stage, ground, fresh !== "no");
  // Engines, bootstrap and all that they need: most builds execute nothing, and do not load them.
  const { execute } = await import("./execute-stage.js");
  return { record: await execute(shop, plan, stage, ground, fresh !== "no", executed) };
};

const settle = (shop: Workshop, stage: PlannedStage, kept: StageRecord | null, made: StageRecord, fresh: Rebuild): void => {
  if (kept === null || fresh !== "compare") keepStage(shop.project.state, made);
  else if (kept.digest !== made.digest) {
    throw notReproducible(stage, kept.digest, made.digest, "REFRESH=1 keeps the new one");
  }
};

const refuseStale = (plan: Plan, decisions: readonly Decision[]): void => {
  const executed = new Set(decisions.filter(({ action }) => action === "execute").map(({ stage }) => stage.stage));
  const stale = plan.notes.filter((note) => note.note === "stale" && executed.has(note.stage));
  if (stale.length === 0) return;
  throw new FactoryError("LOCK_STALE", {
    what: "images.lock does not answer what images.yaml asks",
    why: stale.map(noteText).join("\n"),
    fix: `./task lock IMAGE=${plan.image}`,
  });
};
