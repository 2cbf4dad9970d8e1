export { planJson, planTable, type PlanView } from "../../dagger/src/pipeline/plan-view.js";
