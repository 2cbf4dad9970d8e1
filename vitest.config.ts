import { defineConfig } from "vitest/config";

/** Groups that can be run apart; one after the other in a whole run, so that the fast ones speak first. */
const group = (name: string, groupOrder: number, timeout: number, globalSetup: string[] = []) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeout,
    hookTimeout: timeout,
    maxWorkers: 2,
    globalSetup,
    sequence: { groupOrder },
  },
});

export default defineConfig({
  test: {
    projects: [
      group("unit", 0, 60_000),
      group("integration", 1, 180_000),
      group("e2e", 2, 900_000, ["test/e2e/support/global-setup.ts"]),
      group("module", 3, 900_000),
      // Many random inputs: a short run in the gate, a long one by ./task test:campaign (test/campaign/rounds.ts).
      group("campaign", 4, 3_600_000),
    ],
    reporters: [["default", { summary: false }], "./test/closing-line.ts"],
  },
});
