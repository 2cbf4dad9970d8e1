import { readFileSync } from "node:fs";
import type { Secret } from "@dagger.io/dagger";
import type { BesideImage } from "../distribution/beside-image.js";
import { inRepository } from "../build/registry-stage-cache.js";
import { blobPath } from "../oci-layout/blobs.js";
import { FactoryError } from "../pipeline/common/error.js";
import type { Descriptor } from "../pipeline/oci/manifest.js";
import { stageTag } from "../pipeline/oci/stage-artifact.js";
import { fetchBlobs, pullStage } from "../distribution/pull-stage.js";
import { pushImage } from "../distribution/push-image.js";
import { openRepository, type Repository } from "../registry/client.js";
import { anonymous, explicitCredentials } from "../registry/auth/credentials.js";
import { isLoopback } from "../registry/http/proxy.js";
import { parseRepository, type RepositoryName } from "../registry/reference/reference.js";
import type { Shelf } from "./stage-cache.js";
import { openStageArtifact } from "../oci-layout/stage-store.js";
import { tagImage } from "../distribution/tags.js";

/** Where an image goes, and who sends it there. */
export type Address = {
  /** `registry/repository`. */
  name: string;
  username: string | undefined;
  token: Secret | undefined;
  /** Without TLS. */
  plainHttp: boolean;
  /** A file with further certificate authorities that the registry's certificate may be of. */
  caFile: string | null;
};

/**
 * The repository of an address. The token goes into the request's header and nowhere else.
 * @throws FactoryError USAGE for a registry on loopback, and for a token without a name or the other way round; REFERENCE_INVALID
 */
export const openHome = async (address: Address): Promise<Repository> => {
  const { registry, repository } = parseRepository(address.name);
  refuseLoopback(registry);
  const login = await loginOf(address);
  const env = {
    ...process.env,
    ...(address.plainHttp ? { FACTORY_PLAIN_HTTP: registry } : {}),
    ...(address.caFile === null ? {} : { FACTORY_CA_FILE: address.caFile }),
  };
  return openRepository({ registry, repository, access: "push", env, credentials: async () => login });
};

const loginOf = async ({ username, token }: Address) => {
  const [user, secret] = [username ?? null, token ?? null];
  if (user !== null && secret !== null) return explicitCredentials(user, await secret.plaintext(), "--username and --token");
  if (user === null && secret === null) return anonymous;
  throw new FactoryError("USAGE", {
    what: user === null ? "a token without a username" : "a username without a token",
    why: "a registry takes both, or neither",
    fix: "--username NAME --token env:TOKEN",
  });
};

/** Inside a module loopback is the container of the function, whatever listens on the caller's machine. @throws FactoryError USAGE */
const refuseLoopback = (registry: RepositoryName["registry"]): void => {
  if (!isLoopback(registry.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""))) return;
  throw new FactoryError("USAGE", {
    what: `${registry} cannot be reached from a function`,
    why: "a function runs in a container of the engine, and loopback is that container's own",
    fix: "name the registry by an address that the engine's machine knows (its host name or network address), or publish from here: ./task publish",
  });
};

/** Stage refs in the image's own repository. One that the registry does not take is made again next time. */
export const registryShelf = (home: Repository, beside: BesideImage): Shelf => ({
  async find(stage, layout) {
    const pulled = await pullStage(home, layout, stage);
    switch (pulled.state) {
      case "found":
        return pulled.value.ref.digest;
      case "absent":
      // Made again, and repaired by `keep`.
      case "damaged":
        return null;
      case "unknown":
        if (await isLeftOut(home, beside, pulled.error)) return null;
        throw new FactoryError("REGISTRY_UNREACHABLE", {
          what: `cannot tell which stages ${home.name} has`,
          why: pulled.why,
          fix: "mend the connection or the login, or go on without what is there: --cache off",
        });
    }
  },
  async fileIndex(stage, ref, layout) {
    const opened = openStageArtifact(layout, ref, stage.key)!;
    await fetchBlobs([home], layout, [opened.parts.full]);
    return opened.fileIndex();
  },
  async bring(missing, layout) {
    await fetchBlobs([home], layout, missing);
  },
  async keep(stage, ref, layout) {
    try {
      await pushImage(home, layout, ref, inRepository(layout, ref));
      await tagImage(home, stageTag(stage.stage, stage.key), ref.mediaType, readFileSync(blobPath(layout, ref.digest)));
    } catch (error) {
      beside.unkept(error);
    }
  },
});

const isLeftOut = (home: Repository, beside: BesideImage, error: unknown): Promise<boolean> =>
  beside.unread(home, error).then(
    () => true,
    () => false,
  );
