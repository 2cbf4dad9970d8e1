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
    what: "config: id, parent, container, container_config, docker_version; Hostname, Domainname, Image, Attach*, Tty, OpenStdin, StdinOnce, ArgsEscaped",
    why: "Docker's notes of the container that a layer was committed from; no runtime starts anything with them",
  },
  "mount-points": {
    what: "files: empty files and directories at /proc, /sys, /dev, /etc/hosts, /etc/hostname, /etc/resolv.conf, /run/.containerenv, /.dockerenv",
    why: "left by a container that a build step ran in; every runtime mounts its own over them",
  },
} as const satisfies Record<string, { what: string; why: string }>;

export type Allowance = keyof typeof allowances;
