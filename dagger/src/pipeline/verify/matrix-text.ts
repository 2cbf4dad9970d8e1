import { faultText } from "./fault.js";
import { type CacheReport, type CaseResult, countOf, type CaseVerdict } from "./case-result.js";
import { stageNames } from "../common/stage.js";
import { seconds, table } from "../common/format.js";

const verdicts = {
  pass: "PASS",
  fail: "FAIL",
  error: "ERROR",
  "not-applicable": "n/a",
  "not-tested": "not tested",
} satisfies Record<CaseVerdict, string>;

const proofs = { build: "build", again: "build", plan: "plan" } as const;

/** The matrix: what each change did to each stage, how that is known, and whether it may be so. */
export const verifyMatrix = (report: CacheReport): string => {
  const rows = report.cases.map((one) => [
    one.title,
    ...stageNames.map((name) => one.stages.find(({ stage }) => stage === name)?.did ?? "-"),
    one.proof === null ? "-" : proofs[one.proof],
    one.evidence || "-",
    verdicts[one.verdict],
  ]);
  const head = ["changed", ...stageNames, "by", "evidence", "verdict"];
  const blocks = [
    `${report.image} for ${report.platform}`,
    table([head, ...rows]),
    ...told(report, "fail", (one) => [
      `FAIL ${one.title}`,
      `    ${one.says}`,
      ...one.faults.map((fault) => `    → ${faultText(fault)}`),
    ]),
    ...told(report, "error", (one) => [
      `ERROR ${one.title}`,
      `    ${one.says}`,
      ...one.faults.map((fault) => `    → ${faultText(fault)}`),
    ]),
    ...told(report, "not-tested", (one) => [`not tested: ${one.title}: ${one.why}`]),
    ...told(report, "not-applicable", (one) => [`n/a: ${one.title}: ${one.why}`]),
    ...onPlans(report),
    ...told(report, "pass", ({ title, why, proof }) => (why === null || proof === "plan" ? [] : [`${title}: ${why}`])),
    summary(report),
  ];
  return `${blocks.join("\n")}\n`;
};

const told = ({ cases }: CacheReport, verdict: CaseVerdict, lines: (one: CaseResult) => string[]): string[] =>
  cases.filter((one) => one.verdict === verdict).flatMap((one) => lines(one).map((line) => `  ${line}`));

/** Reasons that several cases share stand once. */
const onPlans = ({ cases }: CacheReport): string[] => {
  const titles = new Map<string, string[]>();
  for (const { verdict, why, title, proof } of cases)
    if (verdict === "pass" && why !== null && proof === "plan") titles.set(why, [...(titles.get(why) ?? []), title]);
  const most = 3;
  return [...titles].map(([why, all]) => {
    const more = all.length > most ? ` and ${all.length - most + 1} more` : "";
    return `  on plans, ${why}: ${all.slice(0, more === "" ? most : most - 1).join(", ")}${more}`;
  });
};

const summary = (report: CacheReport): string => {
  const built = report.cases.filter(({ verdict, proof }) => verdict === "pass" && proof !== "plan").length;
  const passed = countOf(report, "pass");
  const rest = (["fail", "error", "not-tested", "not-applicable"] as const)
    .map(
      (verdict) =>
        [
          countOf(report, verdict),
          verdict === "fail" ? "failed" : verdict === "error" ? "not proved" : verdicts[verdict],
        ] as const,
    )
    .filter(([count, word]) => count > 0 || word === "failed")
    .map(([count, word]) => `${count} ${word}`);
  return `${passed} passed (${built} by building, ${passed - built} on plans), ${rest.join(", ")}; ${seconds(report.seconds * 1000)}`;
};

/** One line as a case ends. */
export const verifyLine = ({ title, verdict, seconds: spent }: CaseResult): string =>
  `${verdicts[verdict].padEnd(10)} ${title}${spent < 0.05 ? "" : ` (${seconds(spent * 1000)})`}\n`;

/** For programs: the report, with each fault in words too. */
export const verifyJson = ({ cases, ...rest }: CacheReport): string => {
  const told = cases.map((one) => ({ ...one, faults: one.faults.map((fault) => ({ ...fault, text: faultText(fault) })) }));
  return `${JSON.stringify({ ...rest, cases: told }, null, 2)}\n`;
};
