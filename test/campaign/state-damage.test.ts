import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { ImageIndex, Manifest } from "../../dagger/src/pipeline/oci/manifest.js";
import { command, type Outcome } from "../integration/support/command.js";
import { openToolbox, type Toolbox } from "../integration/support/toolbox.js";
import { type Random, randomOf, rounds, seed, tally } from "./rounds.js";

/**
 * Random damage to a state folder that has everything of an image, each followed by plan, build and OUTPUT=. Whatever happens to the
 * folder, the image is the right one (made again where it must be), or the command ends with an error that a person can act on.
 */
let box: Toolbox;
let project: string;
let whole: string;
let right: { digest: string; keys: string };
beforeAll(async () => {
  box = await openToolbox();
  project = await box.checkout();
  whole = await box.machine("executed");
  const { stdout, error } = await command(project, whole, "build", ["--json"]);
  if (error !== null) throw error;
  right = {
    digest: (JSON.parse(stdout) as { digest: string }).digest,
    keys: keysOf(await command(project, whole, "plan", ["--json"])),
  };
});
afterAll(() => box.close());

const keysOf = ({ stdout }: Outcome): string =>
  (JSON.parse(stdout) as { plans: { stages: { key: string }[] }[] }).plans[0]!.stages.map(({ key }) => key).join();

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true, encoding: "utf8" })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

/** Does one thing to one or two files of a folder, and says what. */
const damage = (folder: string, { below, oneOf }: Random): string => {
  const files = filesIn(folder);
  // Small files are records, and each says much: they are as likely as the many blobs.
  const kinds = [...new Set(files.map((file) => dirname(file)))];
  const file = oneOf(
    files
      .filter((one) => dirname(one) === oneOf(kinds))
      .concat(below(3) === 0 ? files : [])
      .concat(files.slice(0, 1)),
  );
  const name = file.slice(folder.length + 1);
  const { size } = statSync(file);
  const kind = size === 0 ? "delete" : oneOf(["flip", "flip", "digit", "digit", "truncate", "delete", "swap"] as const);
  switch (kind) {
    case "flip": {
      const bytes = readFileSync(file);
      bytes[below(size)]! ^= 1 << below(8);
      writeFileSync(file, bytes);
      break;
    }
    case "digit": {
      const bytes = readFileSync(file);
      const digits = [...bytes.entries()].filter(([, byte]) => byte >= 0x30 && byte <= 0x39).map(([at]) => at);
      if (digits.length > 0) bytes[oneOf(digits)] = 0x30 + below(10);
      writeFileSync(file, bytes);
      break;
    }
    case "truncate":
      truncateSync(file, below(size));
      break;
    case "delete":
      rmSync(below(6) === 0 ? dirname(file) : file, { recursive: true, force: true });
      break;
    case "swap": {
      const other = oneOf(files);
      const aside = `${file}.aside`;
      renameSync(file, aside);
      if (other !== file) renameSync(other, file);
      renameSync(aside, other === file ? file : other);
      break;
    }
  }
  return `${kind} ${name}`;
};

/** The image of a layout that was written out: its digest, when every blob is what its name says and all of it is there. */
const digestOf = (layout: string): string => {
  for (const file of filesIn(join(layout, "blobs")))
    expect(createHash("sha256").update(readFileSync(file)).digest("hex"), file).toBe(basename(file));
  const blob = <T>(digest: string) => JSON.parse(readFileSync(join(layout, "blobs", digest.replace(":", "/")), "utf8")) as T;
  const [image] = (JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as ImageIndex).manifests;
  const { config, layers } = blob<Manifest>(image!.digest);
  for (const { digest, size } of [config, ...layers])
    expect(statSync(join(layout, "blobs", digest.replace(":", "/"))).size).toBe(size);
  return image!.digest;
};

/** What an outcome is called: an error must be one that a person can act on, with something to type next. */
const named = (what: string, outcome: Outcome, check: () => void): string => {
  if (outcome.code === 0) {
    check();
    return `${what} right`;
  }
  expect(outcome.error, String(outcome.error instanceof Error ? outcome.error.stack : outcome.error)).toBeInstanceOf(
    FactoryError,
  );
  const { code, explanation } = outcome.error as FactoryError;
  expect(explanation.fix).not.toBe("");
  return `${what} ${code}`;
};

test("damage of whatever kind never makes a wrong image, and never ends in a bug", async () => {
  const random = randomOf("state damage");
  const seen = tally();
  for (let round = 0; round < rounds({ short: 50, long: 1000 }); round += 1) {
    const state = join(box.root, `damaged-${round}`);
    const out = join(box.root, `out-${round}`);
    cpSync(whole, state, { recursive: true });
    const done = Array.from({ length: 1 + random.below(2) }, () => damage(state, random));
    try {
      const plan = await command(project, state, "plan", ["--json"]);
      seen.add(named("plan", plan, () => expect(keysOf(plan)).toBe(right.keys)));
      const build = await command(project, state, "build", ["--json"]);
      seen.add(named("build", build, () => expect((JSON.parse(build.stdout) as { digest: string }).digest).toBe(right.digest)));
      const form = random.oneOf(["oci", "tar", "docker"] as const);
      mkdirSync(out, { recursive: true });
      const output = await command(project, state, "build", ["--json", "--output", `${form}:${out}/image`]);
      const check = () => {
        expect((JSON.parse(output.stdout) as { digest: string }).digest).toBe(right.digest);
        if (form === "oci") expect(digestOf(join(out, "image"))).toBe(right.digest);
      };
      seen.add(named("OUTPUT", output, check));
      // What failed once because of damage does not fail for ever: whoever executes the stages again has the image.
      if (output.code !== 0) {
        await box.executed(state, project);
        const again = await command(project, state, "build", ["--json", "--output", `oci:${out}/again`]);
        seen.add(named("again", again, () => expect(digestOf(join(out, "again"))).toBe(right.digest)));
        expect(again.code, String(again.error)).toBe(0);
      }
    } catch (error) {
      throw new Error(`round ${round} of seed ${seed}: ${done.join(", ")}`, { cause: error });
    } finally {
      rmSync(state, { recursive: true, force: true });
      rmSync(out, { recursive: true, force: true });
    }
  }
  seen.print("state damage");
});
