import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { metadataScript, readMetadata } from "../../../dagger/src/pipeline/python/build-backend.js";
import { inputsHash, readInput } from "../../../dagger/src/pipeline/python/projects.js";
import { stageNames } from "../../../dagger/src/pipeline/common/stage.js";
import { projectsOf } from "../../../dagger/src/pipeline/context/inputs.js";
import type { Lock } from "../../../dagger/src/pipeline/config/lock.js";
import { stageContext } from "../../state/staged-context.js";
import { run } from "../../host/process.js";
import { readAnswer } from "../common/answer.js";
import type { Part, Resolving } from "../common/part.js";

/**
 * Projects whose metadata only their build backend knows: built by the host's pip, on a copy that holds the declared
 * inputs and nothing else, so that what the backend reads is what the lock's hash covers.
 */
export const resolveMetadata = (at: Resolving, image: () => Lock["images"][string]): Part[] => {
  const { open, world, update, lock } = at;
  return stageNames
    .flatMap((stage) => projectsOf(open.image.stages[stage]))
    .filter((input) => readInput(input, open.snapshot).kind === "dynamic")
    .filter((input) => update || lock.images[open.name]?.dynamic?.[input.path]?.inputs !== inputsHash(input, open.snapshot))
    .map((input) => ({
      what: `metadata of ${input.path}`,
      resolve: async () => {
        const store = await mkdtemp(join(tmpdir(), "factory-metadata-"));
        try {
          const roots = [input.path, ...input.inputs];
          const read = open.snapshot.entries.filter(({ path }) =>
            roots.some((root) => path === root || path.startsWith(`${root}/`)),
          );
          const folder = await stageContext(open.folder, read, store);
          const { exitCode, stdout, stderr } = await run(
            "python3",
            ["-c", metadataScript, folder, input.folder === "" ? "." : input.folder],
            {
              env: { PIP_DISABLE_PIP_VERSION_CHECK: "1" },
              signal: world.signal,
            },
          );
          const [answer] = readAnswer(`the build backend of ${input.path}`, () => readMetadata(stdout));
          if (exitCode !== 0 || answer === undefined) {
            throw new FactoryError("STEP_FAILED", {
              what: `no metadata of ${input.path}`,
              why: stderr.trim().split("\n").slice(-8).join("\n"),
              fix: "declare every file it reads as `inputs` of the project",
            });
          }
          const { project: _, ...metadata } = answer;
          const kept = {
            ...metadata,
            requires: [...metadata.requires],
            extras: [...metadata.extras],
            entryPoints: [...metadata.entryPoints],
          };
          (image().dynamic ??= {})[input.path] = {
            inputs: inputsHash(input, open.snapshot),
            metadata: kept,
          };
        } finally {
          await rm(store, { recursive: true, force: true });
        }
      },
    }));
};
