import { renderDockerfile } from "./dockerfile.js";
import { renderDockerignore } from "./render-dockerignore.js";
import type { ContextInputs } from "../context/snapshot.js";
import type { Plan } from "../plan/types.js";
import type { Spec } from "../config/spec.js";

/** A file that is made from a plan and committed; its path is relative to images.yaml. */
export type RenderedFile = { path: string; text: string };

/** The Dockerfile of an image and its ignore file. The first image's is builder/Dockerfile, which `docker build -f` users expect. */
export const renderedFiles = (
  spec: Spec,
  image: string,
  plans: readonly Plan[],
  wanted: ContextInputs,
): [RenderedFile, RenderedFile] => {
  const path = `builder/${Object.keys(spec.images)[0] === image ? "Dockerfile" : `${image}.Dockerfile`}`;
  return [
    { path, text: renderDockerfile(plans, { file: path, context: spec.images[image]?.context ?? "." }) },
    { path: `${path}.dockerignore`, text: renderDockerignore(wanted.roots, wanted.ignore) },
  ];
};
