import { existsSync, linkSync, mkdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Client, Directory, Workspace } from "@dagger.io/dagger";
import { asDirectory, type Call, type MadeImage, openSourceCall } from "./call.js";
import { enginePlatform } from "./engine-words.js";
import { blobPath, closure } from "./layout.js";
import { packLayout } from "./layout-tar.js";
import { FactoryError } from "./pipeline/error.js";
import { noteText } from "./pipeline/explain.js";
import { type ImageCheck, imageChecks } from "./pipeline/image-checks.js";
import type { Plan } from "./pipeline/plan.js";
import { planImage } from "./pipeline/plan.js";
import { renderedFiles } from "./pipeline/rendered-files.js";
import { openImage } from "./source.js";

/**
 * Runs what the plan promises inside the image, each check as who it concerns. The image is taken in as the assembler left it.
 * @throws FactoryError STEP_FAILED with every check that did not hold
 */
export const testImage = async (client: Client, plan: Plan, { layout, root }: MadeImage, scratch: string): Promise<void> => {
  const tar = join(scratch, "image.tar");
  await packLayout(layout, root, tar);
  const file = client.currentModule().workdirFile(relative(process.cwd(), tar));
  const container = client.container({ platform: enginePlatform(plan.platform) }).import_(file);
  const failed: string[] = [];
  for (const check of imageChecks(plan)) {
    const user = check.as === "image" ? container : container.withUser(check.as);
    const said = await user
      .withExec([...check.command])
      .stdout()
      .catch((error: unknown) => failureOf(error));
    const wrong = typeof said === "string" ? unexpected(check, said) : said.why;
    if (wrong !== null) failed.push(`${check.name}: ${wrong}`);
  }
  if (failed.length === 0) return;
  throw new FactoryError("STEP_FAILED", {
    what: `the image ${plan.image} for ${plan.platform} is not what the plan promises`,
    why: failed.join("\n"),
    fix: "look around in it: dagger call build terminal",
  });
};

const unexpected = ({ expects }: ImageCheck, said: string): string | null =>
  expects === null || said.includes(expects) ? null : `expected ${expects}, got ${said.trim().slice(0, 200)}`;

/** A command that failed is a check that does not hold; anything else is no answer. */
const failureOf = (error: unknown): { why: string } => {
  if (!(error instanceof Error) || !("exitCode" in error)) throw error;
  const stderr = "stderr" in error ? String(error.stderr).trim() : "";
  return { why: `exit code ${String(error.exitCode)}${stderr === "" ? "" : `: ${stderr.slice(-300)}`}` };
};

/**
 * What can be said of a project without building: every image plans on every platform, the lock answers what images.yaml asks, and
 * rendered files that are committed are current.
 * @throws FactoryError LOCK_STALE with every finding; what cannot be planned throws for itself
 */
export const lintCall = async (workspace: Workspace, given: Directory | undefined): Promise<void> => {
  const { source, scratch } = await openSourceCall({ workspace, source: given });
  const { spec, lock, reach } = source;
  const findings = new Set<string>();
  const committed = join(scratch, "committed");
  mkdirSync(committed);
  await reach.folder(".", ["builder/*Dockerfile*"], []).export(committed);
  for (const name of Object.keys(spec.images)) {
    const own = join(scratch, name);
    mkdirSync(own);
    const open = await openImage(source, name, own);
    const { facts } = open;
    const plans = open.image.platforms.map((platform) => planImage({ spec, lock, image: name, facts, platform, buildArgs: {} }));
    for (const { notes } of plans)
      for (const note of notes) if (note.note === "stale") findings.add(`${name}: ${noteText(note)}`);
    for (const { path, text } of renderedFiles(spec, name, plans, open.wanted)) {
      const file = join(committed, path);
      if (existsSync(file) && readFileSync(file, "utf8") !== text) findings.add(`${path} is not current; type: ./task render`);
    }
  }
  if (findings.size === 0) return;
  throw new FactoryError("LOCK_STALE", {
    what: `${findings.size} ${findings.size === 1 ? "thing is" : "things are"} behind images.yaml`,
    why: [...findings].join("\n"),
    fix: "./task lock && ./task render",
  });
};

/** An image as an OCI layout of its own, without what making it left beside. */
export const asLayout = ({ client, scratch }: Call, { layout, root }: MadeImage): ReturnType<typeof asDirectory> => {
  const folder = join(scratch, "oci");
  mkdirSync(join(folder, "blobs", "sha256"), { recursive: true });
  for (const { digest } of closure(layout, root)) linkSync(blobPath(layout, digest), blobPath(folder, digest));
  for (const name of ["oci-layout", "index.json"]) linkSync(join(layout, name), join(folder, name));
  return asDirectory(client, folder);
};
