export { bytes, plural, seconds, table } from "../../dagger/src/pipeline/table.js";
