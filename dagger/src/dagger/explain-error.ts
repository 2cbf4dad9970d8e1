import type { Piece } from "./stage-container.js";
import type { Fix } from "../pipeline/common/fix.js";
import { FactoryError } from "../pipeline/common/error.js";
import { readTook } from "../pipeline/render/dagger-script.js";
import { parentOf, type Platform, type StageName } from "../pipeline/common/stage.js";

/** Where something went wrong, in the words of the person who waits for it. */
type FailedStep = { stage: StageName; platform: Platform; pieces: readonly Piece[] };

/** What the library says of a command that failed. Known by its shape: the module's own SDK exports no class for it. */
type FailedExec = { message: string; cmd: readonly string[]; exitCode: number; stdout: string; stderr: string };

const patterns = {
  diskFull: /no space left on device|disk quota exceeded/i,
  wrongArchitecture: /exec format error|no match for platform in manifest|does not match the specified platform/i,
  checksum: /http checksum mismatch/i,
  download: /failed to (?:fetch|download)|http request failed|unexpected http status|Get "https?:/i,
  base: /pull image|resolve image|failed to resolve|pull access denied|401 Unauthorized|403 Forbidden|: not found$/im,
  unreachable: /connection refused|no such host|i\/o timeout|context deadline exceeded|TLS handshake|certificate/i,
};

/** Words what the engine said the way a person can act on it. A FactoryError stays what it is. */
export const asFailure = (error: unknown, { stage, platform, pieces }: FailedStep): FactoryError => {
  if (error instanceof FactoryError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const failed = isFailedExec(error) ? error : null;
  const below = parentOf(stage);
  const said = failed === null ? message : [message, failed.stderr].join("\n");
  const because = (code: FactoryError["code"], what: string, why: string, fix: Fix) =>
    new FactoryError(code, { what, why, fix, cause: error });
  if (patterns.diskFull.test(said)) {
    return because(
      "DISK_FULL",
      `no space left while executing ${stage}`,
      lastLines(said),
      "free some space for the engine: dagger core engine local-cache prune. Below 20 % of free disk its garbage collection drops everything after each run",
    );
  }
  if (patterns.wrongArchitecture.test(said)) {
    const fix = "register emulation on the engine's machine: docker run --privileged --rm tonistiigi/binfmt --install all";
    return because("PLATFORM_UNSUPPORTED", `cannot execute ${stage} for ${platform} on this engine`, lastLines(said), fix);
  }
  if (failed !== null) {
    const name = pieces.find(({ text }) => failed.cmd.includes(text))?.name ?? "a command";
    const printed = lastLines([readTook(failed.stdout).rest, failed.stderr].join("\n"));
    return because(
      "STEP_FAILED",
      `a step of ${stage} failed with exit code ${failed.exitCode}: ${name}`,
      printed === "" ? "it printed nothing" : printed,
      `fix the step in images.yaml${below === null ? "" : `, or look around in the stage below it: dagger call stage --name ${below} terminal`}`,
    );
  }
  if (patterns.checksum.test(message)) {
    const fix: Fix = ["if the publisher replaced the file, look at why; then: ", { run: "lock", flags: "--update" }];
    return because("CHECKSUM_MISMATCH", `a download of ${stage} is not what images.lock says`, lastLines(message), fix);
  }
  if (patterns.base.test(message)) {
    const fix = "check the image's name in images.yaml and the engine's registry credentials";
    return because("BASE_UNREACHABLE", `cannot read an image that ${stage} starts from`, lastLines(message), fix);
  }
  if (patterns.download.test(message) || patterns.unreachable.test(message)) {
    const fix = "check the engine's network and proxy settings, then run the same command again; what was finished is kept";
    return because("MIRROR_UNREACHABLE", `the engine could not reach what ${stage} needs`, lastLines(message), fix);
  }
  const fix = "run the same command again; what was finished is kept";
  return because("ENGINE_FAILED", `the Dagger engine gave up on ${stage}`, lastLines(message), fix);
};

const isFailedExec = (error: unknown): error is FailedExec =>
  error instanceof Error && "exitCode" in error && "cmd" in error && Array.isArray(error.cmd) && "stderr" in error;

const lastLines = (text: string): string =>
  text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-20)
    .join("\n");
