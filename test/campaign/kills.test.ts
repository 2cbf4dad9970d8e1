import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseOutput } from "../../ci/outputs/index.js";
import { blobPath, closure } from "../../dagger/src/oci-layout/blobs.js";
import { type Descriptor, type ImageIndex, mediaTypes } from "../../dagger/src/pipeline/oci/manifest.js";
import { imageIn } from "../integration/support/layers.js";
import { sha256 } from "../fixtures/scratch.js";
import { randomOf, rounds, seed, tally } from "./rounds.js";

/** An output is written while its process is killed: what is there is the old image or the new one, whole. */
let folder = "";
let layout = "";
const images: Descriptor[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "factory-kills-"));
  layout = join(folder, "state/layout");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  for (const name of ["one", "other"]) {
    const digest = await imageIn(layout, [[{ name: "shared", text: "shared" }], [{ name, text: randomBytes(3_000_000) }]]);
    images.push({ mediaType: mediaTypes.manifest, digest, size: statSync(blobPath(layout, digest)).size });
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (form: string, root: Descriptor) => {
  const { output, target } = parseOutput(form);
  return output.write({ layout, root, name: "it:1" }, target, new AbortController().signal);
};

/** Which image is there, every byte of it looked at; "nothing" where nothing is. @throws for anything else */
const held = (form: string, target: string, whole: ReadonlyMap<string, string>): string => {
  if (!existsSync(target)) return "nothing";
  if (form !== "oci") return whole.get(sha256(readFileSync(target))) ?? "a part";
  const { manifests } = JSON.parse(readFileSync(join(target, "index.json"), "utf8")) as ImageIndex;
  for (const { digest } of manifests.flatMap((one) => closure(target, one)))
    if (`sha256:${sha256(readFileSync(blobPath(target, digest)))}` !== digest) return "a part";
  return manifests.map(({ digest }) => digest).join();
};

/** Starts the writer, and kills it so many milliseconds after it began. */
const killed = async (form: string, after: number): Promise<void> => {
  const writer = fileURLToPath(new URL("writer.ts", import.meta.url));
  const words = ["--import", "tsx", writer, layout, form, ...images.map((one) => JSON.stringify(one))];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  await once(child.stdout, "data");
  await pause(after);
  child.kill("SIGKILL");
  expect((await ended)[1]).toBe("SIGKILL");
};

test("a kill at any moment leaves the old image or the new one, and the next write leaves nothing else", async () => {
  const random = randomOf("kills");
  const outcomes = tally();
  const wholes = new Map<string, ReadonlyMap<string, string>>();
  for (const form of ["tar", "docker"]) {
    const archives = new Map<string, string>();
    for (const image of images) {
      const path = join(folder, `${form}-${image.digest.slice(7, 19)}`);
      await write(`${form}:${path}`, image);
      archives.set(sha256(readFileSync(path)), image.digest);
    }
    wholes.set(form, archives);
  }
  for (let round = 0; round < rounds({ short: 12, long: 1000 }); round += 1) {
    const form = random.oneOf(["tar", "docker", "oci"]);
    const own = join(folder, `round-${round}`);
    mkdirSync(own);
    const target = join(own, "out");
    if (random.below(3) > 0) await write(`${form}:${target}`, random.oneOf(images));
    const whole = wholes.get(form) ?? new Map<string, string>();
    const before = held(form, target, whole);
    const after = random.below(120);
    await killed(`${form}:${target}`, after);
    const told = `seed ${seed}, round ${round}: ${form}, killed after ${after} ms, before it was ${before}`;
    const now = held(form, target, whole);
    expect([before, ...images.map(({ digest }) => digest)], told).toContain(now);
    outcomes.add(`${form} ${now === "nothing" ? "absent" : "whole"}${readdirSync(own).length > 1 ? ", with a draft" : ""}`);
    await write(`${form}:${target}`, images[0]!);
    expect(held(form, target, whole), told).toBe(images[0]!.digest);
    expect(readdirSync(own), told).toEqual(["out"]);
    if (form === "oci") {
      const names = closure(layout, images[0]!).map(({ digest }) => digest.slice("sha256:".length));
      expect(readdirSync(join(target, "blobs/sha256")).sort(), told).toEqual(names.sort());
      expect(readdirSync(target), told).toEqual(["blobs", "index.json", "oci-layout"]);
    }
    rmSync(own, { recursive: true });
  }
  outcomes.print("kills");
});
