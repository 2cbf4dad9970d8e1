import type { Call } from "./query.js";
import { EngineError } from "./session.js";

/** Folders that hold nothing but mount points. */
const mountPoint = /\/run\/(?:secrets|inputs|downloads|files|compiled)(?:\/[\w./@+-]*)?/g;
/** What a script looks for itself before it reads it. */
const isOptional = (text: string, name: string): boolean =>
  text.includes(`[ -s ${name} ]`) || (text.includes(`ca=${name};`) && text.includes("[ -s $ca ]"));

/**
 * To an engine a mount point at which nothing is mounted does not exist.
 * @throws EngineError for a command whose script names one
 */
export const refuseAbsentMounts = (chain: readonly Call[]): void => {
  let mounted: string[] = [];
  for (const { field, args } of chain) {
    const path = String(args["path"]);
    if (field.startsWith("withMounted")) mounted.push(path);
    if (field === "withoutMount") mounted = mounted.filter((one) => one !== path);
    if (field !== "withExec") continue;
    const text = String((args["args"] as string[]).at(-1));
    for (const [name] of text.matchAll(mountPoint)) {
      const leads = mounted.some((one) => one === name || one.startsWith(`${name}/`) || name.startsWith(`${one}/`));
      if (!leads && !isOptional(text, name)) throw new EngineError(`${name}: No such file or directory`);
    }
  }
};
