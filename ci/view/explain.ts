import type { Decision } from "../../dagger/src/pipeline/decide.js";
import { sentence } from "../../dagger/src/pipeline/explain.js";
import { rowsOf, sideBySide } from "../../dagger/src/pipeline/ingredient-rows.js";
import type { Ingredients } from "../../dagger/src/pipeline/key.js";
import { plural, table } from "./table.js";

/** One stage: its key, every reason, and its ingredients at two times; unchanged ones only with `all`. */
export const explainStage = (decision: Decision, was: Ingredients | null, all: boolean): string => {
  const { stage, action, reasons } = decision;
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
    ...(rest === 0 ? [] : [`  and ${plural(rest, "ingredient")} that did not change${all ? "" : " (-- --all shows them)"}`]),
  ].join("\n");
};
