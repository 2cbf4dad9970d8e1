import { findProgram } from "../../../ci/host/programs.js";

/** The programs of these that this machine lacks, as words for a skipped test; null when all are there. */
export const lacking = async (...programs: readonly string[]): Promise<string | null> => {
  const paths = await Promise.all(programs.map((program) => findProgram(program, process.env)));
  const missing = programs.filter((_, index) => paths[index] === null);
  return missing.length === 0 ? null : `no ${missing.join(", ")} on this machine; test/prepare.sh installs what the tests need`;
};
