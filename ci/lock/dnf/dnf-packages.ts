/**
 * # ci/lock/dnf
 *
 * Resolves RPM packages by asking dnf itself, in the base image. No version is chosen here.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { PackageSet } from "../../../dagger/src/pipeline/config/lock.js";
import { hostCa } from "../../../dagger/src/pipeline/steps/shell.js";
import type { Platform, StageName } from "../../../dagger/src/pipeline/common/stage.js";
import { hostBundle, openProxies } from "../../host/secrets.js";
import { baseOf, epochOf } from "../../../dagger/src/pipeline/plan/plan.js";
import { baseContextOf } from "../../../dagger/src/pipeline/render/dockerfile.js";
import { limits } from "../common/http.js";
import { readAnswer } from "../common/answer.js";
import type { Resolving } from "../common/part.js";
import { readRpmAnswer, rpmResolverScript } from "./dnf-script.js";

/** Asks the dnf of the base itself, inside the base and by the engine: only there are its repositories and its rpm database. */
export const resolveRpmSet = async (
  at: Resolving,
  stage: StageName,
  platform: Platform,
  names: readonly string[],
): Promise<PackageSet> => {
  const { project, open, world, lock, bases } = at;
  const { image } = open;
  const base = baseOf(open.name, image, platform, lock);
  const epoch = epochOf(project.spec);
  const engine = bases.engine();
  const work = await mkdtemp(join(tmpdir(), "factory-rpm-"));
  const secrets = hostBundle(world.env);
  try {
    const made = base.kind === "bootstrap" ? await bases.base(base, platform) : null;
    const script = rpmResolverScript({
      names,
      modules: image.base.modules ?? [],
      repositories: Object.entries(image.base.repositories ?? {}).map(([id, { url }]) => ({
        id,
        baseurl: url,
      })),
    });
    // dnf's Python is the platform's, which is not always the one called python3.
    const command = `test ! -s ${hostCa.target} || export SSL_CERT_FILE=${hostCa.target}\npython=/usr/libexec/platform-python\ntest -x $python || python=/usr/bin/python3\n$python -c "$0" > /answer.json`;
    const dockerfile = [
      base.kind === "image"
        ? `FROM ${base.reference}@${base.digest} AS asked`
        : `FROM ${baseContextOf({ image: open.name })} AS asked`,
      `RUN --mount=type=secret,id=${hostCa.id},target=${hostCa.target} ${JSON.stringify(["/bin/sh", "-eu", "-c", command, script])}`,
      `FROM scratch AS ${stage}`,
      "COPY --from=asked /answer.json /answer.json",
      "",
    ].join("\n");
    await (
      await engine.get()
    ).execute(
      {
        stage,
        platform,
        dockerfile,
        context: work,
        images:
          made === null
            ? {}
            : {
                [baseContextOf({ image: open.name })]: {
                  layout: project.state.layout,
                  digest: made,
                },
              },
        folders: {},
        buildArgs: openProxies(world.env),
        secrets,
        epoch,
        labels: [],
        compression: project.spec.compression,
        // The repositories may have moved since the last time.
        noCache: true,
        output: { to: "folder", folder: join(work, "answer") },
      },
      () => undefined,
      world.signal,
    );
    return readRpmAnswer(readSmall(join(work, "answer", "answer.json"), open.name), names, open.name);
  } catch (error) {
    if (error instanceof FactoryError && error.code === "STEP_FAILED") {
      throw new FactoryError("STEP_FAILED", {
        ...error.explanation,
        what: `dnf could not resolve the packages of ${open.name}`,
        cause: error,
      });
    }
    throw error;
  } finally {
    await engine.release();
    await rm(work, { recursive: true, force: true });
  }
};

/** What a container left: a file of its own, and not larger than an answer is. */
const readSmall = (path: string, whose: string): string =>
  readAnswer(`dnf for ${whose}`, () => {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(file);
      if (!stats.isFile() || stats.size > limits.page) throw new Error("it is no file, or larger than an answer is");
      return readFileSync(file, "utf8");
    } finally {
      closeSync(file);
    }
  });
