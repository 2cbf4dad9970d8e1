/**
 * # dagger/src/registry
 *
 * A client of an OCI registry (OCI distribution specification 1.1). Every answer is found, absent or unknown, and every byte is checked by its
 * digest.
 */
import { type BlobName, blobBody, getBlob, getSmallBlob, headBlob, saveBlob } from "./api/blobs.js";
import type { Body } from "./http/body.js";
import { type CanPush, canPush } from "./api/push-right.js";
import { type Deleted, deleteManifest, listTags } from "./api/listing.js";
import type { Lookup } from "./reference/lookup.js";
import {
  getManifest,
  headManifest,
  type ManifestHead,
  putManifest,
  type PutManifest,
  type StoredManifest,
} from "./api/manifests.js";
import { openSession, placeOf, type RegistryOptions } from "./api/session.js";
import { type Pushed, pushBlob, type PushOptions } from "./api/upload.js";

/** A repository of a registry. Look-ups never throw but when they are interrupted; what changes something does. */
export type Repository = {
  registry: string;
  repository: string;
  /** `registry/repository`. */
  name: string;
  /** @param reference a tag or a digest */
  headManifest(reference: string): Promise<Lookup<ManifestHead>>;
  manifest(reference: string): Promise<Lookup<StoredManifest>>;
  putManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<PutManifest>;
  deleteManifest(digest: string): Promise<Deleted>;
  headBlob(digest: string): Promise<Lookup<{ digest: string; size: number | null }>>;
  blob(blob: BlobName): Promise<Lookup<AsyncGenerator<Buffer>>>;
  smallBlob(blob: BlobName, limit: number): Promise<Lookup<Buffer>>;
  saveBlob(blob: BlobName, path: string): Promise<Lookup<{ path: string }>>;
  pushBlob(blob: BlobName, body: Body, options?: PushOptions): Promise<Pushed>;
  /** A blob of this repository as something to push elsewhere: what a refused mount sends. */
  blobBody(blob: BlobName): Body;
  tags(): Promise<Lookup<string[]>>;
  canPush(): Promise<CanPush>;
};

/** A registry: its connections, its login and its tokens, shared by all its repositories. */
export type Registry = {
  registry: string;
  /** @param access `push` where it will be written to: one token then serves reading and writing */
  repository(repository: string, access?: "pull" | "push"): Repository;
  /** Ends kept connections; a process that ends anyway need not. */
  close(): void;
};

/**
 * A client of the OCI distribution API (specification 1.1). Nothing is asked before the first call.
 * @throws FactoryError REFERENCE_INVALID, USAGE (FACTORY_PLAIN_HTTP)
 */
export const openRegistry = (options: RegistryOptions): Registry => {
  const session = openSession(options);
  return {
    registry: session.registry,
    close: session.http.close,
    repository: (repository, access = "pull") => {
      const place = placeOf(session, repository, access);
      return {
        registry: session.registry,
        repository,
        name: place.name,
        headManifest: (reference) => headManifest(place, reference),
        manifest: (reference) => getManifest(place, reference),
        putManifest: (reference, mediaType, bytes) => putManifest(place, reference, mediaType, bytes),
        deleteManifest: (digest) => deleteManifest(place, digest),
        headBlob: (digest) => headBlob(place, digest),
        blob: (blob) => getBlob(place, blob),
        smallBlob: (blob, limit) => getSmallBlob(place, blob, limit),
        saveBlob: (blob, path) => saveBlob(place, blob, path),
        pushBlob: (blob, body, pushOptions) => pushBlob(place, blob, body, pushOptions),
        blobBody: (blob) => blobBody(place, blob),
        tags: () => listTags(place),
        canPush: () => canPush(place),
      };
    },
  };
};

/** One repository of one registry. @throws as `openRegistry` */
export const openRepository = (options: RegistryOptions & { repository: string; access?: "pull" | "push" }): Repository =>
  openRegistry(options).repository(options.repository, options.access);
