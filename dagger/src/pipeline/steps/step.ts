import type { Entry } from "../context/snapshot.js";

/** A file by URL, with the checksum that makes the URL trustworthy. */
export type Download = { url: string; sha256: string };

/** How a downloaded file becomes files of the image. Paths are absolute paths in the image. */
export type Unpack =
  | { as: "binary"; to: string }
  | { as: "tar"; member: string; to: string }
  | { as: "zip"; member: string; to: string }
  | { as: "package"; to: string; links: Readonly<Record<string, string>> };

/** Text of images.yaml, text that is made from a Python project (named by the file that declares it), or a file of the context. */
type FileSource = { text: string; project?: string } | { from: string; sha256: string };

/** Numeric, so that no renderer needs to know names: `uid:gid`. */
export type Owner = `${number}:${number}`;

export type Account = {
  name: string;
  uid: number;
  gid: number;
  home: string;
  shell: string;
  subordinate: { start: number; count: number } | null;
};

/** What of an image's config a stage sets (OCI image spec, config; healthcheck: Docker image spec v1.3). Durations in nanoseconds. */
export type ConfigChange = {
  env: Readonly<Record<string, string>>;
  /** Folders in front of PATH, after `env` is set; absent where there are none. */
  path?: readonly string[];
  workdir: string | null;
  user: Owner | null;
  entrypoint: readonly string[] | null;
  cmd: readonly string[] | null;
  labels: Readonly<Record<string, string>>;
  healthcheck: { test: readonly string[]; interval: number; timeout: number; startPeriod: number; retries: number } | null;
};

/**
 * One instruction of a stage, resolved: versions, checksums and file hashes stand in it, so a step means the same on every
 * machine. `pins` is null where the lock holds nothing: the step then takes what the mirror serves that day.
 */
export type Step =
  | {
      do: "install";
      manager: "apt" | "dnf";
      names: readonly string[];
      pins: readonly string[] | null;
      modules: readonly string[];
      repositories: Readonly<Record<string, { url: string; key?: string | undefined }>>;
    }
  | { do: "tool"; name: string; version: string; file: Download; unpack: Unpack }
  | {
      do: "compile";
      name: string;
      version: string;
      toolchain: Download;
      source: string;
      entries: readonly Entry[];
      package: string;
      ldflags: string;
      to: string;
    }
  | {
      do: "python";
      version: string;
      venv: string;
      requires: readonly string[];
      pins: readonly { pin: string; sha256: readonly string[] }[] | null;
    }
  | { do: "run"; name: string; command: string; inputs: readonly string[]; entries: readonly Entry[] }
  | { do: "user"; account: Account }
  | { do: "directory"; path: string; owner: Owner; mode: string }
  | { do: "file"; path: string; owner: Owner; mode: string; source: FileSource }
  | { do: "copy"; to: string; owner: Owner; items: readonly { from: string; to: string }[]; entries: readonly Entry[] }
  | { do: "config"; change: ConfigChange };

export type StepOf<D extends Step["do"]> = Extract<Step, { do: D }>;

/** Whether a step needs an engine. The rest only places files and sets config. */
export const isExecuted = (step: Step): boolean => {
  switch (step.do) {
    case "install":
    case "tool":
    case "compile":
    case "python":
    case "run":
      return true;
    case "user":
    case "directory":
    case "file":
    case "copy":
    case "config":
      return false;
  }
};

/** The lines an account adds, exactly the same in every renderer (never useradd, whose output differs by distribution). */
export const accountLines = (account: Account): Readonly<Record<string, string>> => {
  const { name, uid, gid, home, shell, subordinate } = account;
  const range = subordinate === null ? null : `${name}:${subordinate.start}:${subordinate.count}`;
  return {
    "/etc/passwd": `${name}:x:${uid}:${gid}::${home}:${shell}`,
    // A fixed day of the last change: the distribution's useradd would write today's.
    "/etc/shadow": `${name}:!:3652::::::`,
    ...(gid === 0 ? {} : { "/etc/group": `${name}:x:${gid}:`, "/etc/gshadow": `${name}:!::` }),
    ...(range === null ? {} : { "/etc/subuid": range, "/etc/subgid": range }),
  };
};
