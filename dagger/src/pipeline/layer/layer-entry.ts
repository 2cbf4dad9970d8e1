import { FactoryError } from "../common/error.js";

/** Where the bytes of a file come from: a file of the context, or text. */
export type Content = { from: string } | { text: string };

/** One entry of an assembled layer. Paths are absolute and hold no link; modes are octal. */
export type LayerEntry = { path: string; mode: string; uid: number; gid: number } & (
  | { type: "directory" }
  | { type: "symlink"; target: string }
  | { type: "file"; size: number; sha256: string; content: Content; xattrs?: Readonly<Record<string, string>> }
);

const names = { directory: "a directory", symlink: "a symbolic link", other: "a file", file: "a file" } as const;
type EntryKind = keyof typeof names;

/** Something may only take the place of its like: what stands there may be what the base needs to work. */
export const changeOfType = (path: string, is: EntryKind, becomes: EntryKind, target?: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `${path} would become ${names[becomes]}`,
    why: `below it is ${names[is]}${target === undefined ? "" : ` to ${target}`}, and an assembled stage changes the type of nothing`,
    fix:
      is === "symlink"
        ? `name another path, or where the link leads; or remove the link in a run step of base-tools`
        : `name another path in images.yaml, or remove ${path} in a run step of base-tools`,
  });

export const throughFile = (path: string, file: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot put ${path}`,
    why: `${file} is a file, so nothing can be below it`,
    fix: "name another path in images.yaml",
  });

export const leadsNowhere = (path: string, link: string, target: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot put ${path}`,
    why: `${link} is a symbolic link to ${target}, which ${target === link ? "leads to itself" : "leads to nothing"}`,
    fix: "name the directory itself in images.yaml, or make what the link points to in base-tools",
  });

export const whiteoutName = (path: string): FactoryError =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot put ${path}`,
    why: "in a layer a name that starts with .wh. deletes another file (OCI image spec, layer.md)",
    fix: "rename it, or ignore it in .dockerignore",
  });
