export { bytes, plural, seconds, table } from "../../dagger/src/pipeline/common/format.js";
