import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { type Commit, isCommitId, type Relation } from "../../dagger/src/pipeline/oci/tag-origin.js";
import type { History } from "../../dagger/src/distribution/tags.js";
import { ask } from "./process.js";

/**
 * The commit that a folder stands at, and how others stand to it.
 * @returns in words why there is none: no git, no checkout, no commit yet
 * @throws FactoryError INTERRUPTED
 */
export const historyOf = async (folder: string, signal: AbortSignal): Promise<History | string> => {
  const git = async (...words: string[]) => {
    try {
      return await ask("git", ["-C", folder, ...words], { signal, env: { LC_ALL: "C" } });
    } catch (error) {
      if (error instanceof FactoryError && error.code === "HOST_TOOL_MISSING")
        return { exitCode: 127, stdout: "", stderr: "there is no git on PATH" };
      throw error;
    }
  };
  const head = await git("log", "-1", "--no-show-signature", "--format=%H %ct");
  const [id = "", time = ""] = head.stdout.trim().split(" ");
  if (head.exitCode !== 0 || !isCommitId(id)) return head.stderr.trim().split("\n")[0] || "git names no commit";
  const commit: Commit = { id, time: Number(time) };

  /** Null where git does not know one of them: a shallow clone, another repository. */
  const isBefore = async (older: string, newer: string): Promise<boolean | null> => {
    const { exitCode } = await git("merge-base", "--is-ancestor", older, newer);
    return exitCode === 0 ? true : exitCode === 1 ? false : null;
  };
  const relationOf = async (other: string): Promise<Relation> => {
    if (other === id) return "same";
    const before = await isBefore(other, id);
    if (before === null) return "unknown";
    if (before) return "before";
    return (await isBefore(id, other)) === true ? "after" : "diverged";
  };
  return { commit, relationOf };
};
