import { resolve } from "node:path";
import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { cases } from "../../dagger/src/pipeline/verify/cases.js";
import { type CaseResult, refuseFaults } from "../../dagger/src/pipeline/verify/case-result.js";
import { verifyJson, verifyLine, verifyMatrix } from "../../dagger/src/pipeline/verify/matrix-text.js";
import { command } from "../cli/command.js";
import { writeText } from "../outputs/text.js";
import { planOf } from "../project/project.js";
import { proveCache } from "../verify/prove.js";
import { junitXml } from "../view/junit.js";
import { engineFlag, imageFlag, jsonFlag, platformFlag, secretFlag } from "../cli/flags.js";

export const verifyCache = command({
  name: "verify:cache",
  about: "Prove that the cache holds, on a scratch copy of the project",
  more: "each kind of change builds again what it must and nothing else",
  flags: {
    image: imageFlag,
    platform: { ...platformFlag, about: "linux/amd64 or linux/arm64; this machine's when absent" },
    fast: { type: "boolean", about: "on plans, with one real build of a code change" },
    deep: { type: "boolean", about: "build what executes base-tools too" },
    case: { type: "string", about: "only these cases, with commas, such as code,mode" },
    json: jsonFlag,
    junit: { type: "string", about: "write the results to this file as JUnit XML" },
    engine: engineFlag,
    secret: secretFlag,
    verbose: { type: "boolean", about: "show the progress of every build" },
  },
  async run(flags, world) {
    if (flags.fast && flags.deep) throw contradiction();
    const wish = {
      image: flags.image,
      platform: flags.platform,
      depth: flags.fast ? "fast" : flags.deep ? "deep" : "usual",
      only: flags.case === undefined ? null : flags.case.split(",").map(caseId),
      engine: flags.engine,
      verbose: flags.verbose,
      planner: planOf,
      told: (result: CaseResult) => world.stderr(verifyLine(result)),
    } as const;
    const report = await proveCache(world, wish, async (report) => {
      if (flags.junit !== undefined) await writeText(resolve(world.cwd, flags.junit), junitXml(report));
      world.stdout(flags.json ? verifyJson(report) : verifyMatrix(report));
      return report;
    });
    refuseFaults(report, [
      "fix what is named there; a single case again, with its builds: ",
      { run: "verify:cache", flags: "--verbose --case ID" },
    ]);
    return 0;
  },
});

const caseId = (word: string): string =>
  wordOf(
    word,
    cases.map(({ id }) => id),
    { what: `no case ${word}`, known: "cases" },
  );

const contradiction = () =>
  new FactoryError("USAGE", {
    what: "--fast and --deep contradict each other",
    why: "one leaves builds out, the other adds some",
    fix: "choose one of them",
  });
