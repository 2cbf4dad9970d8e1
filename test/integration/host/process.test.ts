import { expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";

/** Lines of a kilobyte on both streams, and how the program ends. */
const program = (lines: number): string[] => [
  "-e",
  `const { writeSync } = require("node:fs");
   const put = (fd, text) => { for (let at = 0; at < text.length;) at += writeSync(fd, text.slice(at)); };
   const line = "x".repeat(1023) + "\\n";
   for (let at = 0; at < ${lines}; at += 1) put(1 + (at % 2), line);
   put(2, "the last word\\n");
   process.exitCode = 3;`,
];

test("a program whose lines are read may print for as long as it runs: an engine's progress is as long as its build", async () => {
  const lines = 150 * 1024;
  const seen = { stdout: 0, stderr: 0 };
  const done = await run(process.execPath, program(lines), { onLine: (_, stream) => (seen[stream] += 1) });
  expect(seen).toEqual({ stdout: lines / 2, stderr: lines / 2 + 1 });
  expect(done.exitCode).toBe(3);
  expect(done.stderr.endsWith("the last word\n")).toBe(true);
  expect(done.stderr.length).toBeGreaterThanOrEqual(1 << 16);
});
