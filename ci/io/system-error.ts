import { FactoryError } from "../../dagger/src/pipeline/error.js";

/**
 * An error of the operating system that a person can act on, as one of ours; any other error as it is.
 * Only the outermost caller asks: whoever knows more about a failure has said it before.
 */
export const systemError = (error: unknown): unknown => {
  if (error instanceof FactoryError || !(error instanceof Error) || !("code" in error)) return error;
  const why = "path" in error ? error.message : `${error.message} (${String(error.code)})`;
  switch (error.code) {
    case "ENOSPC":
    case "EDQUOT":
      return new FactoryError(
        "DISK_FULL",
        {
          what: "no space left",
          why,
          fix: "free some space, for example with: ./task clean, or ./task engine -- prune; or keep the state where there is room: FACTORY_STATE=DIR",
        },
        { cause: error },
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new FactoryError(
        "PERMISSION",
        {
          what: `not allowed to use ${"path" in error ? String(error.path) : "a file"}`,
          why,
          fix: "change its owner or mode, or keep state and outputs elsewhere: FACTORY_STATE=…, OUTPUT=…",
        },
        { cause: error },
      );
    case "ENOTDIR":
    case "EISDIR":
      return new FactoryError(
        "INPUT_MISSING",
        {
          what: `cannot use ${"path" in error ? String(error.path) : "a path"}`,
          why,
          fix: "there is a folder where a file is wanted, or the other way round: look at the path, and at FACTORY_STATE and FACTORY_CACHE",
        },
        { cause: error },
      );
    default:
      return error;
  }
};
