/**
 * # dagger/src/module
 *
 * The functions of the Dagger module: from arguments to a plan, and from a plan to an image. They plan and build as the command line does, and
 * differ in where files come from.
 */
import { mkdirSync, mkdtempSync } from "node:fs";
import { join, relative } from "node:path";
import type { Client, Directory, Secret, Workspace } from "@dagger.io/dagger";
import { platformsOf, readBuildArgs } from "../pipeline/config/arguments.js";
import { callWording } from "./fix-words.js";
import { FactoryError } from "../pipeline/common/error.js";
import { planImage } from "../pipeline/plan/plan.js";
import { type Plan } from "../pipeline/plan/types.js";
import { problemLines } from "../pipeline/common/error-text.js";
import { type Platform, platformNames } from "../pipeline/common/stage.js";
import { type OpenImage, openImage, openSource, directoryReader, workspaceReader, type Source } from "./source.js";

/** The arguments of every function that plans. */
export type RequestArguments = {
  workspace: Workspace;
  source: Directory | undefined;
  image: string | undefined;
  platform: string | undefined;
  buildArgs: readonly string[];
};
/** The arguments of every function that builds. */
export type BuildArguments = { secrets: readonly Secret[]; ca: Secret | undefined; noCache: boolean };

/** What a function starts from. Nothing has run yet. */
export type PreparedRequest = { client: Client; source: Source; open: OpenImage; plans: readonly Plan[]; scratch: string };

/**
 * Reads what a function needs of the source and plans.
 * @throws FactoryError of source.ts, argument.ts and plan.ts
 */
export const openRequest = async (client: Client, args: RequestArguments): Promise<PreparedRequest> => {
  const { source, scratch } = await openSourceRequest(args);
  const open = await openImage(source, args.image ?? undefined, folderIn(scratch, "image"));
  const platform = args.platform ?? undefined;
  const own = platform === undefined ? await ownPlatform(client) : platformNames[0];
  const platforms = platformsOf(open.image, platform, own);
  return { client, source, open, scratch, plans: platforms.map((one) => planOf(source, open, one, args.buildArgs)) };
};

/** The spec and the lock alone. */
export const openSourceRequest = async (
  args: Pick<RequestArguments, "workspace" | "source">,
): Promise<{ source: Source; scratch: string }> => {
  // The working directory is the one that the engine gives files back from.
  const scratch = mkdtempSync(join(process.cwd(), "image-factory-"));
  // An argument that was not given may arrive as null.
  const given = args.source ?? null;
  const reach = given === null ? await workspaceReader(args.workspace) : directoryReader(given);
  return { source: await openSource(reach, folderIn(scratch, "source")), scratch };
};

const planOf = ({ spec, lock }: Source, open: OpenImage, platform: Platform, buildArgs: readonly string[]): Plan =>
  planImage({ spec, lock, image: open.name, snapshot: open.snapshot, platform, buildArgs: readBuildArgs(buildArgs) });

export const folderIn = (scratch: string, name: string): string => {
  const folder = join(scratch, name);
  mkdirSync(folder);
  return folder;
};

/** What the engine executes without emulation; it may name a variant (`linux/arm64/v8`). */
const ownPlatform = async (client: Client): Promise<Platform> => {
  const said = await client.defaultPlatform();
  return platformNames.find((name) => said.startsWith(name)) ?? platformNames[0];
};

/** The plan of what is of one platform. @throws FactoryError USAGE */
export const requireSinglePlatform = (plans: readonly Plan[], what: string): Plan => {
  const [plan, ...others] = plans;
  if (others.length === 0) return plan!;
  throw new FactoryError("USAGE", {
    what: `${what} is of one platform`,
    why: `this asks for ${plans.map(({ platform }) => platform).join(", ")}`,
    fix: "name one: --platform linux/amd64; `image` and `publish` take several",
  });
};

/** A folder of this container as a directory that a function can return. */
export const asDirectory = (client: Client, folder: string): Directory =>
  client.currentModule().workdir(relative(process.cwd(), folder));

/** What a function throws reaches the person as its message alone: all of ours stands in it. Anything else is a bug and says so. */
export const asUserErrors = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FactoryError) throw new Error(problemLines(error, callWording).join("\n"), { cause: error });
    throw error;
  }
};
