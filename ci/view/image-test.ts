import type { CheckResult, CheckVerdict } from "../../dagger/src/pipeline/image-test/image-check.js";
import { plural, seconds } from "../../dagger/src/pipeline/common/format.js";

type Outcome = CheckVerdict["verdict"];
const shown: Readonly<Record<Outcome, string>> = { pass: "pass", fail: "FAIL", "not-tested": "not tested" };
type Timed = CheckResult & { seconds: number };

/** What is tested, before anything is known of it. */
export const imageTestHead = ({ image, platform, digest }: { image: string; platform: string; digest: string }): string =>
  `${image} for ${platform}  ${digest}\n`;

/** One check as soon as it is known; the words of one that does not pass begin with what should hold. */
export const imageTestLine = ({ verdict, name, about, words, seconds: spent }: Timed): string => {
  const said = verdict === "pass" ? words || about : `${about}: ${words}`;
  return `  ${shown[verdict].padEnd(10)}  ${name.padEnd(28)}  ${seconds(spent * 1000).padStart(6)}  ${said}\n`;
};

/** What they come to. */
export const imageTestTail = ({
  image,
  verdict,
  checks,
}: {
  image: string;
  verdict: Outcome;
  checks: readonly Timed[];
}): string => {
  const counts = (["pass", "fail", "not-tested"] as const).flatMap((one) => {
    const count = checks.filter((check) => check.verdict === one).length;
    return count === 0 ? [] : [`${count} ${one === "not-tested" ? "not tested" : one}`];
  });
  const answer = { pass: "passes", fail: "FAILS", "not-tested": "was not tested" }[verdict];
  return `${image} ${answer}: ${plural(checks.length, "check")}, ${counts.join(", ")}\n`;
};
