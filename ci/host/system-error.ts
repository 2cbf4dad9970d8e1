import { dirname } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";

/**
 * An error of the operating system that a person can act on, as one of ours; any other error as it is.
 * Only the outermost caller asks: whoever knows more about a failure has said it before.
 */
export const systemError = (error: unknown): unknown => {
  if (error instanceof FactoryError || !(error instanceof Error) || !("code" in error)) return error;
  if ("syscall" in error && error.syscall === "uv_cwd")
    return new FactoryError("INPUT_MISSING", {
      what: "the current folder is gone",
      why: error.message,
      fix: "go to the project's folder, then run the same command again",
      cause: error,
    });
  if ("syscall" in error && error.syscall === "mkdtemp" && error.code === "ENOENT")
    return new FactoryError("INPUT_MISSING", {
      what: `there is no temporary folder ${"path" in error ? dirname(String(error.path)) : ""}`.trimEnd(),
      why: error.message,
      fix: "make it, or name another: TMPDIR=DIR",
      cause: error,
    });
  const why = "path" in error ? error.message : `${error.message} (${String(error.code)})`;
  switch (error.code) {
    case "ENOSPC":
    case "EDQUOT":
      return new FactoryError("DISK_FULL", {
        what: "no space left",
        why,
        fix: "free some space, for example with: ./task clean, or ./task engine -- prune; or keep the state where there is room: FACTORY_STATE=DIR",
        cause: error,
      });
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new FactoryError("PERMISSION", {
        what: `not allowed to use ${"path" in error ? String(error.path) : "a file"}`,
        why,
        fix: "change its owner or mode, or keep state and outputs elsewhere: FACTORY_STATE=…, OUTPUT=…",
        cause: error,
      });
    case "ENAMETOOLONG":
    case "ELOOP":
    case "EEXIST":
    case "ENOTDIR":
    case "EISDIR":
      return new FactoryError("INPUT_MISSING", {
        what: `cannot use ${"path" in error ? String(error.path) : "a path"}`,
        why,
        fix:
          error.code === "ENAMETOOLONG" || error.code === "ELOOP"
            ? "name another path"
            : "there is a folder where a file is wanted, or the other way round: look at the path, and at FACTORY_STATE, FACTORY_CACHE and TMPDIR",
        cause: error,
      });
    default:
      return error;
  }
};
