import { faultText } from "../../dagger/src/pipeline/verify/fault.js";
import { type CacheReport, type CaseResult, countOf } from "../../dagger/src/pipeline/verify/case-result.js";

/**
 * A report as the JUnit XML that CI systems read: one suite, one test case for each case; what does not apply or was not tested is
 * skipped, with the reason.
 */
export const junitXml = (report: CacheReport): string => {
  const { image, platform, cases, seconds } = report;
  const skipped = countOf(report, "not-applicable") + countOf(report, "not-tested");
  const name = `verify:cache ${image} ${platform}`;
  const counts = `tests="${cases.length}" failures="${countOf(report, "fail")}" errors="${countOf(report, "error")}" skipped="${skipped}" time="${seconds.toFixed(3)}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="verify:cache" ${counts}>`,
    `  <testsuite name="${escaped(name)}" ${counts}>`,
    ...cases.flatMap((one) => testCase(`verify:cache.${image}`, one)),
    "  </testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
};

const testCase = (suite: string, one: CaseResult): string[] => {
  const stages = one.stages.map(({ stage, did }) => `${stage} ${did}`).join(", ");
  const seen = [one.says, stages, one.evidence, one.verdict === "pass" ? one.why : null].filter(Boolean).join("\n");
  return [
    `    <testcase classname="${escaped(suite)}" name="${escaped(`${one.id}: ${one.title}`)}" time="${one.seconds.toFixed(3)}">`,
    ...verdictLines(one),
    ...(seen === "" ? [] : [`      <system-out>${escaped(seen)}</system-out>`]),
    "    </testcase>",
  ];
};

const verdictLines = ({ verdict, faults, why }: CaseResult): string[] => {
  switch (verdict) {
    case "pass":
      return [];
    case "fail":
    case "error": {
      const texts = faults.map(faultText);
      const type = faults[0]?.fault ?? "fault";
      const word = verdict === "fail" ? "failure" : "error";
      return [`      <${word} type="${type}" message="${escaped(texts[0] ?? "")}">${escaped(texts.join("\n"))}</${word}>`];
    }
    case "not-applicable":
      return [`      <skipped message="${escaped(`not applicable: ${why}`)}"/>`];
    case "not-tested":
      return [`      <skipped message="${escaped(`not tested: ${why}`)}"/>`];
  }
};

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** XML 1.0 has no way to write most control characters: they are shown as what they are not. */
const escaped = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  text.replace(/[&<>"]/g, (sign) => entities[sign]!).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");
