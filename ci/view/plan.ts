export { planJson, planTable, type PlanView } from "../../dagger/src/pipeline/explain/plan-text.js";
