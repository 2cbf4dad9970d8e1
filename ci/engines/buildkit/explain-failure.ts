import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { Job } from "../interface/engine.js";
import type { FailedStep } from "./rawjson.js";

/** What is known of a job that failed: the client's own words, and the step that the engine blames. */
export type Failure = { exitCode: number; stray: readonly string[]; failed: FailedStep | null };

const patterns = {
  checksum: /digest mismatch (sha256:[0-9a-f]{64}): (sha256:[0-9a-f]{64})/,
  /** apt's and dnf's words for a version that they do not find. */
  gone: /^E: Version '.*' for '.*' was not found|^E: Unable to locate package |^(?:Error: )?Unable to find a match: |^No match for argument: /,
  /** BuildKit's words for an ADD; those for an image name the registry's API instead. */
  download: /failed to solve: Get "([^"]+)": (.*)/,
  diskFull: /no space left on device|disk quota exceeded/i,
  wrongArchitecture: /exec format error|no match for platform in manifest|does not match the specified platform/i,
  stepExit: /did not complete successfully: exit code: (\d+)/,
  base: /failed to resolve source metadata|load metadata for|failed to do request|failed to copy: |pull access denied|failed to authorize|failed to fetch oauth token|could not parse oci-layout/,
  engineGone:
    /transport is closing|connection refused|error reading from server|code = Unavailable|no such host|failed to list workers|context deadline exceeded|connection reset by peer|failed to get status/,
};

/** Words a failed job the way a person can act on it. */
export function explainFailure(job: Job, address: string, failure: Failure): FactoryError {
  const { failed } = failure;
  const words = failure.stray
    .filter((line) => !/level=warning/.test(line))
    .slice(-12)
    .join("\n");
  const all = [words, failed?.error ?? "", ...(failed?.tail ?? [])].join("\n");
  // docker buildx starts its builder as a step of its own.
  if (failed?.name.startsWith("[internal] booting ") === true) return gaveUp(job, address, excerpt(failed, failed.error));
  if (patterns.diskFull.test(all)) {
    return new FactoryError("DISK_FULL", {
      what: `no space left while executing ${job.stage}`,
      why: excerpt(failed, words),
      fix: "free some space, for example with: ./task engine -- prune (or give the engine less: FACTORY_ENGINE_DISK=10GB)",
    });
  }
  if (patterns.wrongArchitecture.test(all)) {
    return new FactoryError("PLATFORM_UNSUPPORTED", {
      what: `cannot execute ${job.stage} for ${job.platform} here`,
      why: excerpt(failed, words),
      fix: "install emulation: sudo apt-get install qemu-user-static binfmt-support (or: docker run --privileged --rm tonistiigi/binfmt --install all), or use an engine of that architecture by BUILDKIT_HOST",
    });
  }
  const [, got, expected] = patterns.checksum.exec(failed?.error ?? "") ?? [];
  if (failed !== null && got !== undefined) {
    return new FactoryError("CHECKSUM_MISMATCH", {
      what: `${oneLine(failed.name)}: it is not the file that images.lock holds`,
      why: `expected ${expected}\ngot      ${got}`,
      fix: "see what the address answers: a server's error page is content too. If the publisher replaced the file and you trust the new one, take the old checksum out of images.lock and type ./task lock",
    });
  }
  const [, url, reason] = patterns.download.exec(words) ?? [];
  if (url !== undefined) {
    return new FactoryError("MIRROR_UNREACHABLE", {
      what: `cannot download ${url}`,
      why: reason ?? "",
      fix: "check the network, HTTPS_PROXY and the address in images.yaml; then run the same command again: what was finished is kept",
    });
  }
  const gone = failed?.name.includes(" locked)") === true ? failed.tail.filter((line) => patterns.gone.test(line)) : [];
  if (gone.length > 0) {
    return new FactoryError("PACKAGE_GONE", {
      what: "a version that images.lock holds is gone from its mirror",
      why: gone.join("\n"),
      fix: "./task lock -- --update, then look at the difference of images.lock",
    });
  }
  const exit = patterns.stepExit.exec(failed?.error ?? "") ?? patterns.stepExit.exec(words);
  if (failed !== null && exit !== null) {
    return new FactoryError("STEP_FAILED", {
      what: `a step of ${job.stage} failed with exit code ${exit[1]}: ${oneLine(failed.name)}`,
      why: failed.tail.length === 0 ? "it printed nothing" : failed.tail.join("\n"),
      fix: "fix the step in images.yaml, or look around in the stage below it: ./task shell STAGE=…",
    });
  }
  if (patterns.base.test(failed?.name ?? "") || patterns.base.test(words)) {
    return new FactoryError("BASE_UNREACHABLE", {
      what: `cannot read an image that ${job.stage} starts from`,
      why: excerpt(failed, words),
      fix: "check the image's name and `docker login` for its registry; a registry without TLS goes into FACTORY_PLAIN_HTTP=host:port",
    });
  }
  if (failed !== null && !patterns.engineGone.test(words)) {
    return new FactoryError("STEP_FAILED", {
      what: `a step of ${job.stage} failed: ${oneLine(failed.name)}`,
      why: excerpt(failed, failed.error),
      fix: "fix the step in images.yaml",
    });
  }
  return gaveUp(job, address, words === "" ? `its client ended with exit code ${failure.exitCode} and said nothing` : words);
}

const gaveUp = ({ stage }: Job, address: string, why: string): FactoryError =>
  new FactoryError("ENGINE_FAILED", {
    what: `the engine (${address}) gave up on ${stage}`,
    why,
    fix: "run the same command again; what was finished is kept",
  });

const excerpt = (failed: FailedStep | null, words: string): string =>
  [...(failed?.tail ?? []).slice(-5), failed?.error ?? words].filter(Boolean).join("\n");

const oneLine = (name: string): string => {
  const flat = name.replace(/\s+/g, " ");
  return flat.length > 160 ? `${flat.slice(0, 159)}…` : flat;
};
