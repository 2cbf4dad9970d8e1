/**
 * # dagger/src/pipeline/verify
 *
 * The changes by which the cache is proved, the plan that each must lead to, and the judgement of what came. A case that cannot fail is no
 * case.
 */
import type { Case } from "./case.js";
import * as files from "./changes-files.js";
import * as python from "./changes-python.js";
import * as resolved from "./changes-resolved.js";

/**
 * What people change, and which stages each kind of change may move. A stage that is not named must keep its key and its bytes,
 * unless it is built on one that moved: then its key follows, and what it holds stays.
 * The cheap ones come first, so that a broken cache is told early.
 */
export const cases: readonly Case[] = [
  {
    id: "folder",
    title: "nothing; another folder",
    may: [],
    prepare: () => ({ says: "the project stands elsewhere", by: { by: "copy" } }),
  },
  { id: "nothing", title: "nothing", may: [], prepare: () => ({ says: "nothing changed" }) },
  { id: "code", title: "a line of code", may: ["application"], prepare: files.code },
  { id: "taskfile", title: "the Taskfile", may: ["application"], prepare: files.taskfile },
  { id: "comment", title: "a comment in images.yaml", may: ["application"], prepare: files.comment },
  { id: "enrolment", title: "an image enrolled in images.yaml", may: ["application"], prepare: files.enrolment },
  { id: "label", title: "a label of the runtime stage", may: ["application", "runtime"], prepare: files.label },
  { id: "description", title: "the description in pyproject.toml", may: ["application"], prepare: python.description },
  { id: "setup-py", title: "setup.py, requirements as before", may: ["application"], prepare: python.setupPy },
  { id: "readme", title: "a README that no stage reads", may: [], prepare: files.readme },
  { id: "readme-copied", title: "a README that is copied", may: ["application"], prepare: files.copiedReadme },
  { id: "tests", title: "a test", may: ["application"], prepare: files.tests },
  { id: "junk", title: "junk that is ignored", may: [], prepare: files.junk },
  { id: "times", title: "modification times", may: [], prepare: files.times },
  { id: "umask", title: "permissions that a umask leaves", may: [], prepare: files.umask },
  { id: "mode", title: "the executable bit of a file", may: ["application"], prepare: files.mode },
  { id: "owner", title: "the owner on this machine", may: [], prepare: files.owner },
  { id: "dependency-removed", title: "a dependency removed", may: ["dependencies", "application"], prepare: python.removed },
  { id: "dependency-added", title: "a dependency added", may: ["dependencies", "application"], prepare: python.added },
  { id: "dependency-changed", title: "a dependency's bounds", may: ["dependencies", "application"], prepare: python.bounds },
  {
    id: "again",
    title: "nothing; made again without a cache",
    may: [],
    prepare: () => ({ says: "nothing changed", by: { by: "again" } }),
  },
  { id: "tool-version", title: "the version of a tool", may: ["base-tools", "application"], prepare: resolved.tool },
  {
    id: "locked-package",
    title: "a package version in images.lock",
    may: ["base-tools", "application"],
    prepare: resolved.lockedPackage,
  },
  { id: "base", title: "the base", may: ["base-tools", "application"], prepare: resolved.base },
];
