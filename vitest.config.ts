import { defineConfig } from "vitest/config";

const group = (name: string, timeout: number) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: timeout, hookTimeout: timeout },
});

/** Groups that can be run apart: `./task test:core`, `test:cli`, `test:engine`. Engine tests share one daemon and two cores. */
export default defineConfig({
  test: {
    projects: [group("core", 30_000), group("cli", 60_000), group("engine", 900_000)],
    maxWorkers: 2,
  },
});
