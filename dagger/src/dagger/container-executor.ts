import { join } from "node:path";
import type { Client, Container, File, Secret } from "@dagger.io/dagger";
import type { Executor, ParentStage } from "../build/ports.js";
import { packLayout } from "../oci-layout/archive.js";
import { blobBytes } from "../oci-layout/blobs.js";
import { importStage } from "../oci-layout/import-stage.js";
import { mediaTypes, platformParts } from "../pipeline/oci/manifest.js";
import type { Plan } from "../pipeline/plan/types.js";
import { baseContainer } from "./base-container.js";
import { asFailure } from "./explain-error.js";
import { engineCompression, enginePlatform } from "./sdk-types.js";
import { type Context, stageContainers } from "./stage-container.js";

/** What the containers of an image's stages are made of, whatever their platform. */
export type ContainerSite = {
  client: Client;
  context: Context;
  secrets: ReadonlyMap<string, Secret>;
  /** What the names of cache volumes begin with (cache-names.ts). */
  caches: string;
  /** A text that no other call uses: with `noCache` it makes every command run again. */
  call: string;
};

/**
 * A Dagger engine as the executor of a build. The container of each executed stage is kept, so that the next stage is executed on it; an image
 * that was fetched or assembled is imported.
 * @param place the store's layout, a folder of its own on the same file system, and how the engine gets a file of it
 */
export function containerExecutor(
  site: ContainerSite,
  place: { layout: string; scratch: string; asFile: (path: string) => File },
): Executor {
  const { client, secrets } = site;
  const { layout, scratch, asFile } = place;
  /** By the digest of the stage's manifest. */
  const containers = new Map<string, Container>();

  // Layers come by this program's own client, with its login and its certificates: the engine need not know the registry at all.
  const imported = async ({ platform }: Plan, parent: ParentStage): Promise<Container> => {
    await parent.ensureLocal();
    const { digest } = parent;
    // The engine may cache a file by its path: an image has a path of its own.
    const tar = join(scratch, `${digest.replace(":", "-")}.tar`);
    const size = blobBytes(layout, digest).length;
    await packLayout(layout, { mediaType: mediaTypes.manifest, digest, size, platform: platformParts(platform) }, tar);
    return client.container({ platform: enginePlatform(platform) }).import_(asFile(tar));
  };

  return {
    async execute({ plan, stage, parent, noCache }) {
      const base =
        parent === null
          ? baseContainer(client, plan, secrets)
          : { container: containers.get(parent.digest) ?? (await imported(plan, parent)), pieces: [] };
      const { container, pieces } = stageContainers(plan, stage, {
        ...site,
        below: base.container,
        fresh: noCache ? site.call : null,
      });
      const tar = join(scratch, `${stage.stage}-${stage.key}.tar`);
      try {
        await container.sync();
        await container.asTarball({ forcedCompression: engineCompression(plan) }).export(tar);
      } catch (error) {
        throw asFailure(error, { stage: stage.stage, platform: plan.platform, pieces: [...base.pieces, ...pieces] });
      }
      const { digest } = await importStage(tar, layout, join(scratch, "taken"), plan, stage, parent);
      containers.set(digest, container);
      return { digest, engine: "Dagger" };
    },
  };
}
