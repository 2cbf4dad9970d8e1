/**
 * # ci/commands
 *
 * The commands, one file each. A command reads its flags, calls one folder below and prints.
 */
import type { Command } from "../cli/command.js";

/** Every verb, in the order in which help shows them. Each is read when it is run: `plan` starts without what `build` needs. */
export const commands = {
  plan: {
    about: "Show the four stages with their keys, and what would be executed and why",
    load: async () => (await import("./plan.js")).plan,
  },
  build: {
    about: "Make every stage exist and print the digest of the image",
    load: async () => (await import("./build.js")).build,
  },
  publish: {
    about: "Build what is missing, push the image by digest, then move tags",
    load: async () => (await import("./publish.js")).publish,
  },
  promote: {
    about: "Move a tag to an image that the registry has, without a build",
    load: async () => (await import("./promote.js")).promote,
  },
  prune: {
    about: "Show, and with --yes delete, what of the registry nothing needs any more",
    load: async () => (await import("./prune.js")).prune,
  },
  explain: {
    about: "Show what decides a stage, beside what decided it before",
    load: async () => (await import("./explain.js")).explain,
  },
  report: {
    about: "Show what the image consists of: sizes by stage, folder and file, and its packages",
    load: async () => (await import("./report.js")).report,
  },
  lock: { about: "Resolve versions and checksums into images.lock", load: async () => (await import("./lock.js")).lock },
  render: {
    about: "Write the Dockerfiles for docker, buildah and podman",
    load: async () => (await import("./render.js")).render,
  },
  shell: { about: "Open a shell in a stage that is kept", load: async () => (await import("./shell.js")).shell },
  compare: {
    about: "Compare two images: layouts, tars, docker archives, kept stages",
    load: async () => (await import("./compare.js")).compare,
  },
  "test-image": {
    about: "Test a built image against its plan, inside it and as its user",
    load: async () => (await import("./test-image.js")).imageTest,
  },
  engine: {
    about: "The engine that executes stages: status, start, stop, prune",
    load: async () => (await import("./engine.js")).engine,
  },
  "verify:cache": {
    about: "Prove that the cache holds: each kind of change makes again what it must and nothing else",
    load: async () => (await import("./verify-cache.js")).verifyCache,
  },
  clean: {
    about: "Forget what was built here and is not among the newest",
    load: async () => (await import("./clean.js")).clean,
  },
  schema: {
    about: "Write images.schema.json, from which editors complete images.yaml",
    load: async () => (await import("./schema.js")).schema,
  },
} satisfies Record<string, { about: string; load: () => Promise<Command> }>;

export type CommandName = keyof typeof commands;
export const isCommand = (name: string): name is CommandName => Object.hasOwn(commands, name);
