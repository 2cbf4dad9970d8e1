import { wordOf } from "../../dagger/src/pipeline/config/arguments.js";

/** Flags that several commands share, so that a word means the same everywhere. */
export const imageFlag = { type: "string", about: "an image of images.yaml; the first one when absent" } as const;
export const platformFlag = {
  type: "string",
  about: "linux/amd64, linux/arm64, several with commas, or all; this machine's when absent",
} as const;
export const stageFlag = {
  type: "string",
  about: "stop after this stage: base-tools, dependencies, application or runtime",
} as const;
export const buildArgFlag = { type: "string", many: true, about: "TOOL_VERSION=…: another locked version of a tool" } as const;
export const jsonFlag = { type: "boolean", about: "print JSON" } as const;
export const remoteFlag = {
  type: "string",
  about: "the registry's cached stages: auto (use them, go on without an answer), require or off",
  default: "auto",
} as const;
export const registryFlag = {
  type: "string",
  about: "a registry and namespace instead of that of images.yaml, such as localhost:5000/acme",
} as const;
export const secretFlag = {
  type: "string",
  many: true,
  about: "id=NAME,env=VARIABLE or id=NAME,src=FILE: what a secret that images.yaml declares is",
} as const;
export const engineFlag = { type: "string", about: "auto, dagger or buildkit", default: "auto" } as const;

/** Whether a tag may lose something by its move: an earlier place in history, or a platform that it names. */
export type Move = "forward" | "any";

export const moveFlag = {
  type: "string",
  about:
    "forward: a tag such as latest never goes back to an older commit, and none loses a platform; any: it goes where it is told",
  default: "forward",
} as const;

/** @throws FactoryError USAGE */
export const moveOf = (text: string): Move =>
  wordOf<Move>(text, ["forward", "any"], { what: `cannot read MOVE=${text}`, known: "it is one of" });
