import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout that this file is of. */
export const checkout = fileURLToPath(new URL("../", import.meta.url)).replace(/\/$/, "");

/** What `./task` needs of a checkout; packages are shared by a link. */
const parts = ["task", "Taskfile.yaml", "package.json", "package-lock.json", "tsconfig.json", "ci", "dagger", "builder"] as const;

/**
 * A checkout of its own with a project of the caller's, so that `./task` is measured whole and the user's files and state stay
 * as they are. An earlier one of that name keeps its state (`.factory`) where `keep` says so: what is expensive is made once.
 */
export const scratchCheckout = (name: string, keep: "state" | "nothing"): string => {
  const folder = join(checkout, ".factory", "bench", name);
  if (keep === "nothing") rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of parts) {
    rmSync(join(folder, part), { recursive: true, force: true });
    cpSync(join(checkout, part), join(folder, part), { recursive: true });
  }
  if (!existsSync(join(folder, "node_modules"))) symlinkSync(join(checkout, "node_modules"), join(folder, "node_modules"));
  return folder;
};

/** `count` files of `size` bytes, fifty in a folder, each with content of its own that does not compress. */
export const fillFolder = (folder: string, count: number, size: number, seed: number, ending = ".bin"): void => {
  const next = noise(seed);
  for (let n = 0; n < count; n++) {
    const file = join(folder, `d${Math.floor(n / 50)}`, `f${n}${ending}`);
    if (n % 50 === 0) mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, next(size));
  }
};

/** Source text as people write it, as far as compressors can tell. */
export const sourceText = (size: number, seed: number): string => {
  const lines: string[] = [];
  for (let length = 0, n = seed; length < size; n++) {
    const line = `def step_${n % 977}(value, other=${(n * 7919) % 10_007}):\n    return value * ${(n * 31) % 513} + other\n\n`;
    lines.push(line);
    length += line.length;
  }
  return lines.join("").slice(0, size);
};

/** Bytes that look like chance and are the same in every run (xorshift32), so that runs can be compared. */
export const noise = (seed: number): ((size: number) => Buffer) => {
  let state = (seed * 2_654_435_761 + 1) | 0 || 1;
  return (size) => {
    const words = new Uint32Array(Math.ceil(size / 4));
    for (let at = 0; at < words.length; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[at] = state;
    }
    return Buffer.from(words.buffer, 0, size);
  };
};

export const progress = (line: string): void => void process.stderr.write(`${line}\n`);
