import type { Reporter, TestCase, TestModule } from "vitest/node";

/** The last line of a run, in plain words for any CI; before it, each skipped test with its reason. */
export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const broken = modules.filter(
      (module) => module.state() === "failed" && [...module.children.allTests("failed")].length === 0,
    ).length;
    for (const test of tests)
      if (test.result().state === "skipped") process.stdout.write(`skipped: ${test.fullName}: ${reasonOf(test)}\n`);
    process.stdout.write(
      `\n${count("passed")} passed, ${count("failed") + broken + errors.length} failed, ${count("skipped")} skipped\n`,
    );
  }
}

const reasonOf = (test: TestCase): string => {
  const result = test.result();
  const note = result.state === "skipped" ? result.note : undefined;
  // A group that is left out whole says why in its name.
  return note ?? (test.fullName.includes("(skipped: ") ? "see its name" : "no reason was given");
};

// Vitest loads a reporter from a file by its default export.
export { ClosingLine as default };
