import { compileIgnore, ignoreText } from "../context/dockerignore.js";

/**
 * The ignore file beside a rendered Dockerfile: only what the image reads is sent, and of that exactly what is hashed. Docker's dialect looks
 * at a line only while it would change something, so an earlier `*` can hide a match on a folder above a root, and with it what the lines below
 * that folder mean. Where a line speaks of such a folder, only the lines themselves are rendered: more is sent, and the same is copied.
 */
export const renderDockerignore = (roots: readonly string[], ignore: readonly string[]): string => {
  const narrow =
    roots.includes(".") || speaksOfAncestors(roots, ignore)
      ? []
      : ["# What no step reads is not sent.", ignoreText(["*", ...roots.map((root) => `!${root}`)]).trimEnd()];
  return [
    "# Rendered by `./task render`.",
    ...narrow,
    "# The ignore lines of the context and of images.yaml.",
    ignoreText(ignore),
  ].join("\n");
};

const speaksOfAncestors = (roots: readonly string[], ignore: readonly string[]): boolean => {
  const ancestors = new Set(roots.flatMap(ancestorsOf));
  return ignore.some((line) => {
    const matches = compileIgnore([line.trim().replace(/^!/, "")]);
    return [...ancestors].some((folder) => matches.ignores(folder));
  });
};

const ancestorsOf = (path: string): string[] => {
  const parts = path.split("/");
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join("/"));
};
