import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { buildStages, imageRoot } from "../build/build-stages.js";
import { checkChain } from "../build/chain.js";
import { decidePlans } from "../build/decide-plans.js";
import { layoutStore } from "../build/layout-store.js";
import type { BuildContext, StageCache, Store } from "../build/ports.js";
import { rebuildDamaged } from "../build/rebuild-damaged.js";
import type { BuiltPlan, BuiltPlans } from "../build/stage-result.js";
import { type ContainerSite, containerExecutor } from "../dagger/container-executor.js";
import { contextOf } from "../dagger/sdk-types.js";
import { indexOf, layoutText } from "../oci-layout/archive.js";
import { cachesOf } from "../pipeline/steps/cache-names.js";
import { type BuildArguments, folderIn, type PreparedRequest } from "./request.js";
import { secretsOf } from "./secret-args.js";

/** An image in an OCI layout of this container. */
export type BuiltImage = BuiltPlans & { layout: string };

export const note = (text: string): void => void process.stderr.write(`note: ${text}\n`);

/** A function sees no commit and no branch: what it builds counts as the build of a branch. */
const trust = "branch";

/** The store of one call. */
export const storeOf = ({ scratch }: PreparedRequest): Store => layoutStore(join(scratch, "layout"), trust);

/**
 * Builds the image of a call as the command line does, with containers of the engine as its executor. The layout holds what was built now, and
 * of a cached stage only the small blobs.
 * @param use what is done with the image: where it finds a blob of a cached stage missing, the image is built again without that stage
 * @throws FactoryError of the core, of the engine and of the cache
 */
export async function buildImage<T>(
  call: PreparedRequest,
  args: BuildArguments,
  { store, cache }: { store: Store; cache: StageCache | null },
  use: (image: BuiltImage) => Promise<T>,
): Promise<T> {
  const { plans, open, client } = call;
  const { layout } = store;
  const { signal } = new AbortController();
  const place = {
    layout,
    scratch: folderIn(call.scratch, "stages"),
    asFile: (path: string) => client.currentModule().workdirFile(relative(process.cwd(), path)),
  };
  const context: BuildContext = {
    store,
    cache,
    executor: containerExecutor(await siteOf(call, args), place),
    source: { folder: open.folder, snapshot: open.snapshot },
    emit: () => undefined,
    signal,
    now: Date.now,
    howToReplace: "--cache off neither compares nor keeps",
  };
  const rebuild = args.noCache ? "compare" : "no";
  return rebuildDamaged(store, plans, note, async (untrusted) => {
    const lookup = cache === null ? null : ({ cache, prefer: "local", warn: note } as const);
    const decided = await decidePlans(store, plans, { upTo: "runtime", rebuild, lookup, untrusted });
    const platforms: BuiltPlan[] = [];
    for (const { plan, decisions } of decided)
      platforms.push({ plan, done: await buildStages(context, plan, decisions, rebuild) });
    const image = { layout, root: await imageRoot(store, platforms, signal), platforms };
    checkChain(store, image);
    writeFileSync(join(layout, "oci-layout"), layoutText);
    writeFileSync(join(layout, "index.json"), JSON.stringify(indexOf(image.root)));
    return use(image);
  });
}

/** The image of a call, without any registry. */
export const builtImage = (call: PreparedRequest, args: BuildArguments): Promise<BuiltImage> =>
  buildImage(call, args, { store: storeOf(call), cache: null }, async (image) => image);

/** What the containers of a call are made of. */
export async function siteOf({ client, open, plans, scratch }: PreparedRequest, args: BuildArguments): Promise<ContainerSite> {
  const { repository, secrets } = plans[0]!;
  return {
    client,
    context: contextOf((path, include) =>
      client
        .currentModule()
        .workdir(relative(process.cwd(), join(open.folder, path)), include.length === 0 ? {} : { include: [...include] }),
    ),
    secrets: await secretsOf(secrets, args.secrets, args.ca),
    caches: cachesOf(repository, trust),
    call: `${relative(process.cwd(), scratch)}-${randomUUID()}`,
  };
}
