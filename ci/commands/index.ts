/**
 * # ci/commands
 *
 * The commands, one file each. A command reads its flags, calls one folder below and prints.
 */
import type { Command } from "../cli/command.js";

/** Every command, in the order in which help shows them. Each is loaded when it is run: `plan` starts without what `build` needs. */
export const commands = {
  plan: async () => (await import("./plan.js")).plan,
  build: async () => (await import("./build.js")).build,
  publish: async () => (await import("./publish.js")).publish,
  promote: async () => (await import("./promote.js")).promote,
  prune: async () => (await import("./prune.js")).prune,
  explain: async () => (await import("./explain.js")).explain,
  report: async () => (await import("./report.js")).report,
  lock: async () => (await import("./lock.js")).lock,
  render: async () => (await import("./render.js")).render,
  shell: async () => (await import("./shell.js")).shell,
  compare: async () => (await import("./compare.js")).compare,
  "test-image": async () => (await import("./test-image.js")).imageTest,
  engine: async () => (await import("./engine.js")).engine,
  "verify:cache": async () => (await import("./verify-cache.js")).verifyCache,
  clean: async () => (await import("./clean.js")).clean,
  schema: async () => (await import("./schema.js")).schema,
} satisfies Record<string, () => Promise<Command>>;

export type CommandName = keyof typeof commands;
export const isCommand = (name: string): name is CommandName => Object.hasOwn(commands, name);
