import {
  type CheckResult,
  type Expectation,
  type ImageCheck,
  machines,
  type Needs,
  notAllowed,
  type CheckOutcome,
  type Runner,
  type CheckVerdict,
} from "./image-check.js";

/** What is made of a check's outcomes, one for each attempt so far: the first pass settles it, and of failures the most telling speaks. */
export const verdictOf = ({ probe }: ImageCheck, outcomes: readonly CheckOutcome[]): CheckVerdict => {
  if (probe.probe === "settled") return probe.verdict;
  const verdicts = outcomes.map((outcome) => one(probe, outcome));
  // A tool that answered with another version says more than one that did not understand the question.
  const answered = outcomes.findIndex((outcome) => outcome.outcome === "ended" && outcome.exitCode === 0);
  return (
    verdicts.find(({ verdict }) => verdict === "pass") ?? verdicts[answered] ?? verdicts[0] ?? notTested("nothing was tried")
  );
};

/**
 * Runs a check's attempts, one after the other, until one does not fail.
 * @param run how a command is run, and as whom
 */
export const verdictByRunning = async (check: ImageCheck, run: RunCheck): Promise<CheckVerdict> => {
  const { probe } = check;
  const outcomes: CheckOutcome[] = [];
  if (probe.probe === "command") {
    for (const command of probe.attempts) {
      outcomes.push(await run(probe.as, command, probe.needs));
      if (verdictOf(check, outcomes).verdict !== "fail") break;
    }
  }
  return verdictOf(check, outcomes);
};
export type RunCheck = (as: Runner, command: readonly string[], needs: Needs) => Promise<CheckOutcome>;

const pass = (words: string): CheckVerdict => ({ verdict: "pass", words });
const fail = (words: string): CheckVerdict => ({ verdict: "fail", words });
const notTested = (words: string): CheckVerdict => ({ verdict: "not-tested", words });

const one = (probe: Exclude<ImageCheck["probe"], { probe: "settled" }>, outcome: CheckOutcome): CheckVerdict => {
  switch (outcome.outcome) {
    case "not-run":
      return notTested(outcome.why);
    case "binaries":
      return probe.probe === "binaries" ? binaries(machines[probe.machine], outcome.found) : fail("binaries were not asked for");
    case "ended": {
      const { exitCode, stdout, stderr } = outcome;
      if (exitCode === notAllowed) return notTested(lastLine(stdout) || lastLine(stderr) || "this machine does not allow it");
      if (exitCode !== 0) return fail(`exit ${exitCode}: ${lastLine(stderr) || lastLine(stdout) || "nothing was said"}`);
      return probe.probe === "command" ? judged(probe.expect, stdout, stderr) : fail("a command was not asked for");
    }
  }
};

const judged = (expect: Expectation, stdout: string, stderr: string): CheckVerdict => {
  switch (expect.expect) {
    case "success":
      return pass(expect.tell ? lastLine(stdout) : "");
    case "version":
      return version(expect.version, `${stdout}\n${stderr}`);
    case "lines":
      return lines(expect.lines, stdout);
    case "packages":
      return packages(expect.locked, stdout);
    case "distributions":
      return distributions(expect, stdout);
  }
};

const lastLine = (text: string): string => text.trimEnd().split("\n").at(-1)!.trim().replaceAll(/\s+/g, " ").slice(0, 300);
const firstLine = (text: string): string => text.trimStart().split("\n", 1)[0]!.trim().slice(0, 120);

/** As a word of its own: 1.2.3 is not in 1.2.30, 11.2.3 or 1.2.3-rc1; a v before it and build metadata after it are no part of it. */
const version = (wanted: string, said: string): CheckVerdict => {
  const escaped = wanted.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const found = new RegExp(`(?<![\\w.-]|\\d\\.)v?${escaped}(?![\\w-]|\\.\\w)`).exec(said);
  return found !== null ? pass(wanted) : fail(`answers ${JSON.stringify(firstLine(said))}, not ${wanted}`);
};

const lines = (wanted: readonly string[], said: string): CheckVerdict => {
  const found = said.trimEnd().split("\n");
  return found.join("\n") === wanted.join("\n") ? pass(wanted.join(", ")) : fail(`${found.join(", ")}, not ${wanted.join(", ")}`);
};

/** Names the first three, and counts the rest. */
const listed = (texts: readonly string[]): string =>
  texts.slice(0, 3).join("; ") + (texts.length > 3 ? `; and ${texts.length - 3} more` : "");

const packages = (locked: readonly string[], said: string): CheckVerdict => {
  const installed = said.split("\n").flatMap((line) => (line.startsWith("ii ") ? [line.slice(3).trim()] : []));
  const there = new Set(installed);
  const nameOf = (text: string) => (text.includes("=") ? text.split("=")[0]! : text.replace(/-\d+:[^-]*-[^-]*$/, ""));
  const names = new Map(installed.map((text) => [nameOf(text), text]));
  const wrong = locked.flatMap((pin) => {
    // A name alone was never locked: that it is there is all that can be asked.
    if (there.has(pin) || (nameOf(pin) === pin && names.has(pin))) return [];
    const found = names.get(nameOf(pin));
    return [found === undefined ? `${pin} is not installed` : `${found} is installed, ${pin} is locked`];
  });
  return wrong.length === 0 ? pass(`${locked.length} packages`) : fail(listed(wrong));
};

const distributions = ({ locked, others }: Extract<Expectation, { expect: "distributions" }>, said: string): CheckVerdict => {
  const normal = (name: string) => name.toLowerCase().replaceAll(/[-_.]+/g, "-");
  let found: Map<string, string>;
  try {
    found = new Map(Object.entries(JSON.parse(said) as Record<string, string>).map(([name, held]) => [normal(name), held]));
  } catch {
    return fail(`does not list what is installed: ${JSON.stringify(firstLine(said))}`);
  }
  const wrong = Object.entries(locked).flatMap(([name, wanted]) => {
    const held = found.get(name);
    if (held === undefined) return [`${name} is not installed`];
    return held === wanted || wanted === "*" ? [] : [`${name} is ${held}, locked is ${wanted}`];
  });
  const known = new Set([...Object.keys(locked), ...others]);
  if (!known.has("*"))
    wrong.push(...[...found.keys()].filter((name) => !known.has(name)).map((name) => `${name} is installed and not locked`));
  return wrong.length === 0 ? pass(`${found.size} packages`) : fail(listed(wrong));
};

const binaries = (machine: number, found: readonly { path: string; machine: number }[]): CheckVerdict => {
  const wrong = found
    .filter((file) => file.machine !== machine)
    .map((file) => `${file.path} is for ${machineName(file.machine)}`);
  if (wrong.length > 0) return fail(listed(wrong));
  return found.length === 0 ? notTested("no binary was found") : pass(`${found.length} binaries`);
};

const machineName = (machine: number): string =>
  Object.entries(machines).find(([, value]) => value === machine)?.[0] ?? `machine ${machine} of ELF`;

/**
 * What a whole test comes to: one failure fails it, and only what ran in the image can pass it. Of an image for another architecture,
 * whose files alone could be looked at, nothing is known that counts.
 */
export const overall = (results: readonly Pick<CheckResult, "verdict" | "probe">[]): CheckVerdict["verdict"] => {
  if (results.some(({ verdict }) => verdict === "fail")) return "fail";
  return results.some(({ verdict, probe }) => verdict === "pass" && probe.probe === "command") ? "pass" : "not-tested";
};
