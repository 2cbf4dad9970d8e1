import { stageNames, type StageName } from "../pipeline/common/stage.js";
import { type Decision, decide } from "../pipeline/decide/decide.js";
import type { Plan } from "../pipeline/plan/types.js";
import { lackingError } from "../pipeline/steps/needs.js";
import { type CacheLookup, knowledgeOf, type UntrustedDigests } from "./knowledge.js";
import type { StageCache, Store } from "./ports.js";
import type { Rebuild } from "./stage-result.js";

export type DecidedPlan = { plan: Plan; decisions: readonly Decision[] };

/**
 * What is done with each stage of each plan, up to and with `upTo`.
 * @throws FactoryError of knowledgeOf, and CONFIG_INVALID where a stage that is executed lacks a program
 */
export async function decidePlans(
  store: Store,
  plans: readonly Plan[],
  options: { upTo: StageName; rebuild: Rebuild; lookup: CacheLookup; untrusted: UntrustedDigests },
): Promise<DecidedPlan[]> {
  const { upTo, rebuild, lookup, untrusted } = options;
  const decided = await Promise.all(
    plans.map(async (plan) => {
      if (rebuild === "compare" && lookup !== null) await fetchToCompare(plan, lookup.cache, untrusted);
      const cut = { ...plan, stages: plan.stages.slice(0, stageNames.indexOf(upTo) + 1) };
      return {
        plan,
        decisions: decide(cut, await knowledgeOf(store, cut, rebuild === "no" ? lookup : null, untrusted), rebuild !== "no"),
      };
    }),
  );
  for (const { plan, decisions } of decided) {
    const executed = new Set(decisions.flatMap(({ action, stage }) => (action === "execute" ? [stage.stage] : [])));
    const lacking = plan.notes.filter((note) => note.note === "lacking").filter(({ stage }) => executed.has(stage));
    if (lacking.length > 0) throw lackingError(plan.image, lacking);
  }
  return decided;
}

/** Records every executed stage that the registry has: the stages that are built again are compared with them. */
async function fetchToCompare(plan: Plan, cache: StageCache, untrusted: UntrustedDigests): Promise<void> {
  const executed = plan.stages.filter(({ kind }) => kind === "executed");
  cache.ask(executed);
  for (const stage of executed) {
    const pulled = await cache.find(plan, stage, null, untrusted);
    if (pulled.state === "unknown" && cache.unanswered === "fail") throw pulled.error;
  }
}
