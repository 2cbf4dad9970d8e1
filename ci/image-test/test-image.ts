/**
 * # ci/image-test
 *
 * Runs the checks of a plan in a built image. A check that could not be run is not passed.
 */
import { readBlob, readManifest } from "../../dagger/src/oci-layout/blobs.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import {
  type CheckResult,
  identityOf,
  type ImageCheck,
  strangerId,
  type CheckVerdict,
} from "../../dagger/src/pipeline/image-test/image-check.js";
import { imageChecks } from "../../dagger/src/pipeline/image-test/planned-checks.js";
import type { ImageConfig } from "../../dagger/src/pipeline/oci/image-config.js";
import { overall, type RunCheck, verdictByRunning, verdictOf } from "../../dagger/src/pipeline/image-test/verdict.js";
import type { Plan } from "../../dagger/src/pipeline/plan/types.js";
import type { World } from "../host/world.js";
import { runInRoot } from "../runc/container.js";
import { openRoot, type Root } from "../runc/rootfs.js";
import { elfFiles } from "./elf.js";
import { textInRoot } from "../host/in-root.js";
import type { State } from "../state/state.js";

/** What testing an image came to. Versioned: other programs read it. Seconds are those of each check. */
export type ImageTest = {
  format: 1;
  image: string;
  platform: string;
  /** Of the image's manifest. */
  digest: string;
  verdict: "pass" | "fail" | "not-tested";
  checks: readonly TimedResult[];
};
export type TimedResult = CheckResult & { seconds: number };

/** Milliseconds that a check may take: a first import of a large package on a busy machine takes a minute. */
const timeLimit = 180_000;

/**
 * Tests an image of the state folder's layout against its plan, in containers of its own files. Where it cannot be tried (no root, no
 * runc, another architecture without emulation) the verdict is "not tested", with the reason.
 * @param digest of its manifest; all its layers must be here
 * @throws FactoryError CHECKSUM_MISMATCH, INTERRUPTED
 */
export const testImage = async (
  state: State,
  plan: Plan,
  digest: string,
  world: World,
  done: (result: TimedResult) => void = () => undefined,
): Promise<ImageTest> => {
  const config = readBlob<ImageConfig>(state.layout, readManifest(state.layout, digest).config.digest);
  const checks = imageChecks(plan, config);
  const results: TimedResult[] = [];
  const ready = await prepared(state, digest, world);
  try {
    for (const check of checks) {
      const started = world.now();
      const verdict = await tried(check, ready);
      const result = { ...check, ...verdict, seconds: (world.now() - started) / 1000 };
      done(result);
      results.push(result);
    }
  } finally {
    ready.root?.close();
  }
  const { image, platform } = plan;
  return { format: 1, image, platform, digest, verdict: overall(results), checks: results };
};

/** Where checks are tried: an unpacked image, and a way to run something in it; or why not. */
type PreparedRun = { root: Root | null; run: RunCheck; why: string };

const prepared = async (state: State, digest: string, world: World): Promise<PreparedRun> => {
  const around = { state, env: world.env, signal: world.signal, report: (line: string) => world.stderr(`${line}\n`) };
  const nowhere = (why: string): PreparedRun => ({ root: null, why, run: async () => ({ outcome: "not-run", why }) });
  let root: Root;
  world.stderr(`unpacking ${digest.slice(0, 19)}\n`);
  try {
    root = await openRoot(digest, around);
  } catch (error) {
    if (error instanceof FactoryError && unable.has(error.code)) return nowhere(oneLine(error));
    throw error;
  }
  try {
    const people = { user: identity(root), stranger: { uid: Number(strangerId.split(":")[0]), gid: 0 } };
    const run: RunCheck = async (as, command, needs) => {
      const user = people[as];
      if (needs === "nesting" && root.shift === 0) return { outcome: "not-run", why: noNesting };
      if (user === null) return { outcome: "not-run", why: `the image has no user ${root.config.config?.User}` };
      const { Env, WorkingDir } = root.config.config ?? {};
      const usual = { env: Env ?? [], workdir: WorkingDir || "/", network: "none", streams: "captured" } as const;
      const request = { ...usual, command, user, needs, timeout: timeLimit };
      const { exitCode, stdout, stderr } = await runInRoot(root, request, around);
      return { outcome: "ended", exitCode, stdout, stderr };
    };
    const why = await refusal(run);
    return why === null ? { root, run, why: "" } : { ...nowhere(why), root };
  } catch (error) {
    if (error instanceof FactoryError && unable.has(error.code)) return { ...nowhere(oneLine(error)), root };
    root.close();
    throw error;
  }
};

const noNesting = "a container in a container is tried in a user namespace of its own, and this machine gives none";
const unable = new Set(["PERMISSION", "HOST_TOOL_MISSING"]);
const oneLine = ({ explanation }: FactoryError): string => `${explanation.what}: ${explanation.why}`;

const identity = ({ folder, config }: Root) => {
  const text = (path: string) => textInRoot(folder, path);
  return identityOf(config.config?.User ?? "", { passwd: text("/etc/passwd"), group: text("/etc/group") });
};

/** Whether containers of this image start here at all; what runc says otherwise. */
const refusal = async (run: RunCheck): Promise<string | null> => {
  const outcome = await run("user", ["/bin/sh", "-c", "exit 0"], "nothing");
  if (outcome.outcome === "not-run") return outcome.why;
  if (outcome.outcome !== "ended" || outcome.exitCode === 0) return null;
  const said = outcome.stderr.trim().split("\n").at(-1) ?? "";
  if (said.includes("exec format error"))
    return "this machine has another architecture and no emulation for the image's (qemu-user, binfmt_misc)";
  return `no container of it starts here: ${said.slice(0, 300)}`;
};

const tried = (check: ImageCheck, { root, run, why }: PreparedRun): CheckVerdict | Promise<CheckVerdict> => {
  const { probe } = check;
  if (probe.probe !== "binaries") return verdictByRunning(check, run);
  return verdictOf(check, [
    root === null ? { outcome: "not-run", why } : { outcome: "binaries", found: elfFiles(root.folder, probe.folders) },
  ]);
};
