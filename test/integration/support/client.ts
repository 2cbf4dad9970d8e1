import { randomBytes } from "node:crypto";
import { mediaTypes } from "../../../dagger/src/pipeline/oci/manifest.js";
import { bytesBody } from "../../../dagger/src/registry/http/body.js";
import { openRegistry, type Registry, type Repository } from "../../../dagger/src/registry/client.js";
import { anonymous, explicitCredentials } from "../../../dagger/src/registry/auth/credentials.js";
import { digestOf } from "../../../dagger/src/registry/reference/digest.js";
import type { Exchanged } from "../../../dagger/src/registry/http/types.js";
import type { Clock } from "../../../dagger/src/registry/http/retry.js";
import type { RegistryOptions } from "../../../dagger/src/registry/api/session.js";

/** A clock on which waiting takes no time. */
const quickClock = (): Clock & { slept: number[]; at: number } => {
  const clock = {
    slept: [] as number[],
    at: 0,
    now: () => clock.at,
    random: () => 0,
    sleep: (ms: number) => {
      clock.slept.push(ms);
      clock.at += ms;
      return Promise.resolve();
    },
  };
  return clock;
};

export type TestClient = Registry & { clock: ReturnType<typeof quickClock>; seen: Exchanged[] };

/** A client that waits for nothing between tries, and keeps what it did. */
export const clientOf = (
  registry: string,
  login: { user: string; password: string } | null = null,
  more: Partial<RegistryOptions> = {},
): TestClient => {
  const clock = quickClock();
  const seen: Exchanged[] = [];
  const opened = openRegistry({
    registry,
    env: {},
    clock,
    observe: (exchanged) => seen.push(exchanged),
    credentials: () => Promise.resolve(login === null ? anonymous : explicitCredentials(login.user, login.password, "a test")),
    ...more,
  });
  return { ...opened, clock, seen };
};

/** Content that nothing compresses or has seen before, and its descriptor. */
export const newBlob = (size: number) => {
  const bytes = randomBytes(size);
  return { bytes, body: bytesBody(bytes), digest: digestOf(bytes), size };
};

/** A small image: its blobs are pushed, its manifest is not. */
export const newImage = async (repository: Repository, layerSize = 1000) => {
  const layer = newBlob(layerSize);
  const configBytes = Buffer.from(
    JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [layer.digest] } }),
  );
  const config = { digest: digestOf(configBytes), size: configBytes.length };
  await repository.pushBlob(layer, layer.body);
  await repository.pushBlob(config, bytesBody(configBytes));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, ...config },
      layers: [{ mediaType: mediaTypes.layer, digest: layer.digest, size: layer.size }],
    }),
  );
  return { layer, config, bytes, digest: digestOf(bytes), mediaType: mediaTypes.manifest, size: bytes.length };
};

/** The error that some work ends with. */
export const errorOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => Promise.reject(new Error("nothing failed")),
    (error: unknown) => error,
  );
