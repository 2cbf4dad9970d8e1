import { readFile, rm } from "node:fs/promises";
import { run } from "../../host/process.js";

/**
 * Empties the folder for temporary files of a daemon that is gone. BuildKit mounts there: a tmpfs with the secrets of a step, the layers that
 * it reads. One that was killed unmounts nothing, and its secrets stay in memory for whoever may look.
 * The folder is removed only when nothing is mounted below it: a removal through a mount would reach what is mounted.
 */
export async function sweepTemporary(folder: string): Promise<void> {
  // The youngest mount comes last, and may be mounted on an older one.
  for (const target of (await mountsBelow(folder)).reverse()) await run("umount", ["--lazy", target]).catch(() => undefined);
  if ((await mountsBelow(folder)).length === 0) await rm(folder, { recursive: true, force: true });
}

/** Where something is mounted below a folder, in the order of mounting (proc(5), mountinfo: the fifth field, octal escapes). */
const mountsBelow = async (folder: string): Promise<string[]> => {
  const text = await readFile("/proc/self/mountinfo", "utf8").catch(() => "");
  const targets = text.split("\n").map((line) => unescaped(line.split(" ")[4] ?? ""));
  return targets.filter((target) => target.startsWith(`${folder}/`));
};

/** Bytes and not characters are escaped: blank, tab, line feed and backslash. */
const unescaped = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)));
