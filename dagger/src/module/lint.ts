import { existsSync, linkSync, mkdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Client, Container, Directory, Workspace } from "@dagger.io/dagger";
import type { BuiltImage } from "./build.js";
import { asDirectory, openSourceRequest, type PreparedRequest } from "./request.js";
import { enginePlatform } from "../dagger/sdk-types.js";
import { blobPath, closure, readBlob, readManifest } from "../oci-layout/blobs.js";
import { packLayout } from "../oci-layout/archive.js";
import { FactoryError } from "../pipeline/common/error.js";
import { noteText } from "../pipeline/explain/reasons-text.js";
import { type CheckResult, type CheckOutcome, strangerId } from "../pipeline/image-test/image-check.js";
import { imageChecks } from "../pipeline/image-test/planned-checks.js";
import type { ImageConfig } from "../pipeline/oci/image-config.js";
import { overall, verdictByRunning } from "../pipeline/image-test/verdict.js";
import { type Descriptor, type ImageIndex, mediaTypes, platformParts } from "../pipeline/oci/manifest.js";
import type { Plan } from "../pipeline/plan/types.js";
import { planImage } from "../pipeline/plan/plan.js";
import type { Platform } from "../pipeline/common/stage.js";
import { isBehind } from "../pipeline/plan/lock-notes.js";
import { renderedFiles } from "../pipeline/render/rendered-files.js";
import { openImage } from "./source.js";

/**
 * Runs the checks of the plan inside the image, each as who it concerns. The image is taken in as the assembler left it.
 * @throws FactoryError IMAGE_FAILED with every check that did not hold, or with what was not tested where nothing was
 */
export const testImage = async (client: Client, plan: Plan, { layout, root }: BuiltImage, scratch: string): Promise<void> => {
  const tar = join(scratch, "image.tar");
  await packLayout(layout, root, tar);
  const file = client.currentModule().workdirFile(relative(process.cwd(), tar));
  const container = client.container({ platform: enginePlatform(plan.platform) }).import_(file);
  const config = readBlob<ImageConfig>(layout, readManifest(layout, manifestOf(layout, root, plan.platform)).config.digest);
  const results: CheckResult[] = [];
  for (const check of imageChecks(plan, config)) {
    const isNested = check.name.startsWith("nested ");
    const { verdict, words } = await verdictByRunning(check, async (as, command) =>
      isNested ? nestedInDagger : outcomeOf(as === "user" ? container : container.withUser(strangerId), command),
    );
    results.push({ ...check, verdict, words });
  }
  const verdict = overall(results);
  if (verdict === "pass") return;
  const told = results.filter((one) => one.verdict === verdict).map(({ name, words }) => `${name}: ${words}`);
  const image = `the image ${plan.image} for ${plan.platform}`;
  throw new FactoryError("IMAGE_FAILED", {
    what: verdict === "fail" ? `${image} is not what the plan promises` : `nothing that ran in ${image} could be tested`,
    why: told.length === 0 ? "the plan gives it no tool, package, command or user to ask" : told.join("\n"),
    fix: "look around in it: dagger call build terminal",
  });
};

/** Of an index of several platforms, the manifest of one. */
const manifestOf = (layout: string, root: BuiltImage["root"], platform: Platform): string => {
  if (root.mediaType !== mediaTypes.index) return root.digest;
  const { os, architecture } = platformParts(platform);
  const fits = (one: Descriptor) => one.platform?.os === os && one.platform.architecture === architecture;
  return readBlob<ImageIndex>(layout, root.digest).manifests.find(fits)!.digest;
};

const nestedInDagger: CheckOutcome = { outcome: "not-run", why: "a step of Dagger has none of what a nested container needs" };

/** A command that failed is an answer; an engine that did is none. */
const outcomeOf = async (container: Container, command: readonly string[]): Promise<CheckOutcome> => {
  const ran = container.withExec([...command]);
  try {
    return { outcome: "ended", exitCode: 0, stdout: await ran.stdout(), stderr: await ran.stderr() };
  } catch (error) {
    if (!(error instanceof Error) || !("exitCode" in error)) throw error;
    const said = (name: string) => (name in error ? String((error as unknown as Record<string, unknown>)[name]) : "");
    return { outcome: "ended", exitCode: Number(error.exitCode), stdout: said("stdout"), stderr: said("stderr") };
  }
};

/**
 * What can be said of a project without building: every image plans on every platform, the lock answers what images.yaml asks, and
 * rendered files that are committed are current.
 * @throws FactoryError LOCK_STALE with every finding; what cannot be planned throws for itself
 */
export const lintCall = async (workspace: Workspace, given: Directory | undefined): Promise<void> => {
  const { source, scratch } = await openSourceRequest({ workspace, source: given });
  const { spec, lock, reach } = source;
  const findings = new Set<string>();
  const committed = join(scratch, "committed");
  mkdirSync(committed);
  await reach.folder(".", ["builder/*Dockerfile*"], []).export(committed);
  for (const name of Object.keys(spec.images)) {
    // In a folder of their own: an image may be called as anything else that stands here.
    const own = join(scratch, "images", name);
    mkdirSync(own, { recursive: true });
    const open = await openImage(source, name, own);
    const { snapshot } = open;
    const plans = open.image.platforms.map((platform) =>
      planImage({ spec, lock, image: name, snapshot, platform, buildArgs: {} }),
    );
    for (const { notes } of plans) for (const note of notes) if (isBehind(note)) findings.add(`${name}: ${noteText(note)}`);
    for (const { path, text } of renderedFiles(spec, name, plans, open.wanted)) {
      const file = join(committed, path);
      if (existsSync(file) && readFileSync(file, "utf8") !== text) findings.add(`${path} is not current: render it again`);
    }
  }
  if (findings.size === 0) return;
  throw new FactoryError("LOCK_STALE", {
    what: `${findings.size} ${findings.size === 1 ? "thing is" : "things are"} behind images.yaml`,
    why: [...findings].join("\n"),
    fix: [{ run: "lock" }, ", then ", { run: "render" }],
  });
};

/** An image as an OCI layout of its own, without what making it left beside. */
export const asLayout = ({ client, scratch }: PreparedRequest, { layout, root }: BuiltImage): ReturnType<typeof asDirectory> => {
  const folder = join(scratch, "oci");
  mkdirSync(join(folder, "blobs", "sha256"), { recursive: true });
  for (const { digest } of closure(layout, root)) linkSync(blobPath(layout, digest), blobPath(folder, digest));
  for (const name of ["oci-layout", "index.json"]) linkSync(join(layout, name), join(folder, name));
  return asDirectory(client, folder);
};
