import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Size } from "./cache-project.js";
import { type Contender, runOnce } from "./interleave.js";
import { task } from "./project.js";

/** Where the contenders of bench/cache.ts meet: the project's folder, the registry, and the programs beside ours. */
export type Arena = { folder: string; host: string; base: string; buildctl: string; crane: string };

const emptied = ({ folder }: Arena, name: string) => {
  const path = join(folder, ".factory", name);
  return { path, make: () => rmSync(path, { recursive: true, force: true }) };
};

/** `./task publish` with no state folder; the engine that a test needs is started by itself. */
export const ours = (arena: Arena, size: Size, name: string, ...words: string[]): Contender => {
  const { folder, host } = arena;
  const empty = emptied(arena, `empty-${size.image}`);
  return {
    name,
    command: task("publish", `IMAGE=${size.image}`, "TAGS=dev", ...words),
    cwd: folder,
    env: { FACTORY_STATE: empty.path, FACTORY_REGISTRY: host, FACTORY_BUILDKIT: "embedded" },
    before: empty.make,
  };
};

type Cache = "max" | "inline";
/** A Dockerfile, BuildKit and its cache in a registry, as `docker buildx build --cache-from … --cache-to … --push` asks for them. */
export const buildkit = (
  { host, base, buildctl }: Arena,
  size: Size,
  { file, address, repository, cache }: { file: "habit" | "expert"; address: string; repository: string; cache: Cache },
): [string, ...string[]] => {
  const image = `${host}/${repository}-${size.image}`;
  // BuildKit compresses with gzip where nobody says otherwise; an expert does.
  const zstd = file === "expert" ? ",compression=zstd" : "";
  const caches =
    cache === "inline"
      ? ["--export-cache", "type=inline", "--import-cache", `type=registry,ref=${image}:dev`]
      : [
          ...["--export-cache", `type=registry,ref=${image}:cache,mode=max${zstd}`],
          ...["--import-cache", `type=registry,ref=${image}:cache`],
        ];
  return [
    buildctl,
    "--addr",
    address,
    "build",
    ...["--frontend", "dockerfile.v0", "--progress", "plain", "--local", "context=app", "--local", "dockerfile=dockerfiles"],
    ...[
      "--opt",
      `filename=${file}.Dockerfile`,
      "--opt",
      `build-arg:BASE=${base}`,
      "--opt",
      `build-arg:MEGABYTES=${size.megabytes}`,
    ],
    ...caches,
    ...["--output", `type=image,name=${image}:dev,push=true,oci-mediatypes=true${zstd}`],
  ];
};

/** buildah with a storage of its own that is empty each time. */
export const buildah = (arena: Arena, size: Size, name: string): Contender => {
  const { folder, host, base } = arena;
  const empty = emptied(arena, "buildah");
  const image = `${host}/buildah-${size.image}`;
  const storage = `--root ${empty.path}/root --runroot ${empty.path}/run`;
  const build = `buildah ${storage} build --layers --isolation chroot --network host --tls-verify=false \
--cache-from ${image}/cache --cache-to ${image}/cache --build-arg BASE=${base} --build-arg MEGABYTES=${size.megabytes} \
--file dockerfiles/habit.Dockerfile --tag ${image}:dev app`;
  return {
    name,
    command: ["sh", "-c", `${build} && buildah ${storage} push --tls-verify=false ${image}:dev`],
    cwd: folder,
    before: () => {
      runOnce({
        command: ["sh", "-c", `buildah ${storage} rm --all; for m in ${empty.path}/root/overlay; do umount -l "$m"; done; true`],
        cwd: folder,
      });
      empty.make();
      mkdirSync(empty.path, { recursive: true });
    },
  };
};

/** The least that any tool must do. @param digest of the stage below, in our own image's repository */
export const craneAppend = ({ folder, host, crane }: Arena, size: Size, name: string, digest: string): Contender => ({
  name,
  command: [
    "sh",
    "-c",
    `tar -cf .factory/layer.tar -C app src && ${crane} append -f .factory/layer.tar -b ${host}/${size.image}@${digest} -t ${host}/${size.image}:crane`,
  ],
  cwd: folder,
});
