/**
 * What a comparison leaves out, and why two images that differ in nothing else are the same to whoever runs them. Everything that
 * is not here counts: mode, uid:gid, type, content, link target, extended attributes, hard links, and every other config field.
 * One table: it is what the differ asks, what `--rules` prints and what the documentation says.
 */
export const allowances = {
  created: {
    what: "config: created",
    why: "when an image was made is not what it is; builders that know no epoch write the time of day",
  },
  history: {
    what: "config: history",
    why: "texts for people: every builder words its own instructions, and nothing runs differently",
  },
  layers: {
    what: "config: rootfs.diff_ids, and with them manifests, digests and compression",
    why: "a container sees the sum of the layers, not where one ends; their times of files are in these digests",
  },
  "env-order": {
    what: "config: the order of Env",
    why: "names are unique and no program is promised an order (environ(7)); values are compared by name",
  },
  variant: {
    what: "config: variant v8 of arm64",
    why: "it is the only one there is: some builders write it, others leave it out",
  },
  "builder-notes": {
    what: "config: id, parent, container, container_config, docker_version; Hostname, Domainname, Image, Attach*, Tty, OpenStdin, StdinOnce, ArgsEscaped; the label io.buildah.version",
    why: "notes of the builder on itself and on the container that a layer was committed from; no runtime starts anything with them",
  },
  "mount-points": {
    what: "files: empty files and directories at /.dockerenv, /etc/hosts, /etc/hostname, /etc/resolv.conf, /run/.containerenv, and in /dev, /proc, /sys",
    why: "left by a container that a build step ran in; every runtime mounts its own over them",
  },
  "build-mounts": {
    what: "files: empty files and directories in /run/secrets, /run/inputs, /run/downloads, /root/.cache, /root/go, /var/cache/apt, /var/lib/apt/lists, /var/cache/dnf",
    why: "where build steps mount secrets, inputs and caches: buildah leaves the mount points it made and takes away the folders it mounted over; package managers make them again",
  },
} as const satisfies Record<string, { what: string; why: string }>;

export type Allowance = keyof typeof allowances;

/** Where a runtime mounts something of its own, whatever the image has there. */
export const runtimeMounts =
  /^\/(?:\.dockerenv|etc\/(?:hosts|hostname|resolv\.conf)|run\/\.containerenv)$|^\/(?:dev|proc|sys)(?:\/|$)/;

/** The targets of the mounts of script.ts and instruction.ts, and the folders that are made to hold them. */
export const buildMounts =
  /^\/(?:run\/(?:secrets|inputs|downloads)|root\/(?:\.cache|go)|var\/cache\/(?:apt|dnf)|var\/lib\/apt\/lists)(?:\/|$)/;
