/**
 * # dagger/src/pipeline/contents
 *
 * What a stage holds, as lists of files: of a layer, of a whole stage, and the small part that assembling needs. The lists are made from
 * layers once, and layers are never read again for them.
 */
/** One path of a stage's root file system. */
export type StageEntry = {
  /** Absolute. A byte that is not UTF-8 stands as a lone surrogate (tar-header.ts, textOf). */
  path: string;
  type: "file" | "directory" | "symlink" | "character" | "block" | "fifo";
  /** Octal, with setuid, setgid and sticky: "755", "1777". Symlinks have "777". */
  mode: string;
  uid: number;
  gid: number;
  /** Bytes and content of a file. */
  size?: number;
  sha256?: string;
  /** Where a symlink points, as written. */
  target?: string;
  /** The path that a file shares its inode with, as the layer told it. */
  hardlink?: string;
  /** Extended attributes (file capabilities among them), values in base64. */
  xattrs?: Readonly<Record<string, string>>;
};

/** What of a stage's files is read as text: accounts for the assembler, the package list for reports. */
export const accountFiles = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"] as const;
export type AccountFile = (typeof accountFiles)[number];

export type PackageList =
  | { manager: "dpkg"; installed: readonly string[] }
  /** A binary database that nothing here reads. */
  | { manager: "rpm"; database: string; installed: null }
  | { manager: "none" };

/** All that an executed stage left. Versioned: it is kept beside the stage, and other programs read it. */
export type FileIndex = {
  format: 1;
  /** Sorted by path (by code unit). */
  entries: readonly StageEntry[];
  accounts: Readonly<Partial<Record<AccountFile, string>>>;
  packages: PackageList;
};

export const octal = (mode: number): string => mode.toString(8);
export const bits = (mode: string): number => Number.parseInt(mode, 8);
