import { type Decision, decide } from "../decide/decide.js";
import { sentence } from "./reasons-text.js";
import { rowsOf, sideBySide } from "./ingredient-rows.js";
import { type Ingredients } from "../plan/key.js";
import { hashOf } from "../common/canonical.js";
import type { Plan } from "../plan/types.js";
import type { StageLocation } from "../decide/reason.js";
import type { StageName } from "../common/stage.js";
import { plural, table } from "../common/format.js";

/** What decided stages at another time; a stage that is not in it was not there. */
export type Was = ReadonlyMap<StageName, Ingredients>;

export const ingredientsOf = ({ stages }: Plan): Was => new Map(stages.map(({ stage, ingredients }) => [stage, ingredients]));

/**
 * What would be made to come from one state of a project to another, were everything of the first one there.
 * @param where what the first one was read from
 */
export const decideSince = (plan: Plan, was: Was, where: Extract<StageLocation, { at: "commit" | "folder" }>): Decision[] => {
  const same = plan.stages.filter(({ stage, ingredients }) => hashOf(was.get(stage)) === hashOf(ingredients));
  const known = new Map(same.map(({ key }) => [key, where]));
  return decide(plan, { known, previous: was, damaged: new Map() }, false);
};

/** How much is shown of each stage. `more` is what a person types to see all of it. */
type Extent = { all: boolean; more: string };

/** Stages one below the other, as the last line of an output. */
export const explainStages = (decisions: readonly Decision[], was: Was, extent: Extent): string =>
  `${decisions.map((one) => explainStage(one, was.get(one.stage.stage) ?? null, extent)).join("\n\n")}\n`;

/** One stage: its key, every reason, and its ingredients at two times; unchanged ones only with `all`. */
const explainStage = ({ stage, action, reasons }: Decision, was: Ingredients | null, { all, more }: Extent): string => {
  const pairs = sideBySide(was === null ? null : rowsOf(was), rowsOf(stage.ingredients));
  const moved = pairs.filter((pair) => was !== null && pair.was !== pair.now);
  const shown = all || was === null ? pairs : moved;
  const rows = shown.map((pair) => [
    pair.was === pair.now || was === null ? "" : "*",
    pair.name,
    ...(was === null ? [] : [pair.was ?? "-"]),
    pair.now ?? "-",
  ]);
  const head = was === null ? ["", "ingredient", "now"] : ["", "ingredient", "was", "now"];
  const rest = pairs.length - shown.length;
  return [
    `${stage.stage} ${stage.key}: ${action}`,
    ...reasons.map((reason) => `  ${sentence(reason)}`),
    ...(shown.length === 0 ? [] : [table([head, ...rows])]),
    ...(rest === 0 ? [] : [`  and ${plural(rest, "ingredient")} that did not change${all ? "" : ` (${more} shows them)`}`]),
  ].join("\n");
};
