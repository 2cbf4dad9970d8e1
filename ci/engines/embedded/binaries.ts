import { createHash } from "node:crypto";
import { access, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { ownFile } from "../../host/own-file.js";
import { withLock } from "../../host/process-lock.js";
import { findProgram, type HostEnv } from "../../host/programs.js";
import { run } from "../../host/process.js";

/** buildkitd and buildctl at the version that builder/engine/go.mod pins. */
export type Binaries = { version: string; buildkitd: string; buildctl: string };

/** The Go tools module that pins the engine. */
const tools = ownFile("builder/engine/");
const importPath = "github.com/moby/buildkit";
/** The first Go that fetches the newer toolchain a module asks for (GOTOOLCHAIN). */
const firstSelfUpdatingGo = [1, 21] as const;
const heartbeat = 20_000;

/** Where the binaries of this checkout's pin stand, or would stand, in the user's cache. */
export async function binariesIn(cache: string): Promise<Binaries & { folder: string }> {
  const [mod, sum] = await Promise.all([readFile(join(tools, "go.mod"), "utf8"), readFile(join(tools, "go.sum"), "utf8")]);
  const version =
    mod
      .split("\n")
      .find((line) => line.trim().startsWith(`${importPath} v`))
      ?.trim()
      .split(" ")[1] ?? "v0";
  const hash = createHash("sha256").update(mod).update(sum).update(`${process.platform} ${process.arch}`).digest("hex");
  const folder = join(cache, `buildkit-${version}-${hash.slice(0, 12)}`);
  return {
    version,
    folder,
    buildkitd: join(folder, "buildkitd"),
    buildctl: join(folder, "buildctl"),
  };
}

export const areBuilt = async (binaries: Binaries): Promise<boolean> =>
  (await Promise.all([exists(binaries.buildkitd), exists(binaries.buildctl)])).every(Boolean);

/**
 * The engine's binaries, compiled on first use: about two minutes, once per user and version.
 * @throws FactoryError HOST_TOOL_MISSING without a usable Go, ENGINE_FAILED when it does not compile, INTERRUPTED
 */
export async function ensureBinaries(
  cache: string,
  env: HostEnv,
  report: (line: string) => void,
  signal?: AbortSignal,
): Promise<Binaries> {
  const binaries = await binariesIn(cache);
  if (await areBuilt(binaries)) return binaries;
  const go = await usableGo(env);
  const onWait = (pid: string) => report(`waiting for process ${pid}, which compiles the engine`);
  await withLock(
    `${binaries.folder}.lock`,
    async () => ((await areBuilt(binaries)) ? undefined : compile(go, binaries, report, signal)),
    {
      signal,
      onWait,
    },
  );
  return binaries;
}

async function compile(
  go: string,
  to: Binaries & { folder: string },
  report: (line: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  report(`compiling BuildKit ${to.version} into ${to.folder}: once, about two minutes`);
  await mkdir(join(to.folder, ".."), { recursive: true });
  const draft = await mkdtemp(`${to.folder}.`);
  const began = Date.now();
  const beat = setInterval(() => report(`still compiling BuildKit (${Math.round((Date.now() - began) / 1000)} s)`), heartbeat);
  try {
    const flags = [
      "-trimpath",
      "-buildvcs=false",
      "-mod=readonly",
      "-ldflags",
      `-s -w -X ${importPath}/version.Version=${to.version}`,
    ];
    const packages = [`${importPath}/cmd/buildkitd`, `${importPath}/cmd/buildctl`];
    const done = await run(go, ["build", ...flags, "-o", `${draft}/`, ...packages], {
      cwd: tools,
      // Without C the binaries are the same with and without a compiler on the machine, and run on any libc.
      env: { CGO_ENABLED: "0" },
      ...(signal === undefined ? {} : { signal }),
    });
    if (done.exitCode !== 0) {
      throw new FactoryError("ENGINE_FAILED", {
        what: `cannot compile BuildKit ${to.version}`,
        why: done.stderr.trim().split("\n").slice(-12).join("\n"),
        fix: "check that the Go module proxy is reachable (go env GOPROXY), or use another engine: BUILDKIT_HOST=tcp://…, or a docker buildx builder",
      });
    }
    await rename(draft, to.folder);
    report(`compiled BuildKit ${to.version} in ${Math.round((Date.now() - began) / 1000)} s`);
  } finally {
    clearInterval(beat);
    await rm(draft, { recursive: true, force: true });
  }
}

/** The path of a Go that can compile the engine, or why there is none. */
export async function goFor(env: HostEnv): Promise<{ go: string } | { why: string }> {
  const go = (await findProgram("go", env)) ?? ((await exists("/usr/local/go/bin/go")) ? "/usr/local/go/bin/go" : null);
  if (go === null) return { why: "go is not on PATH" };
  const { stdout } = await run(go, ["env", "GOVERSION"], { cwd: "/" });
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(stdout.trim()) ?? [];
  if (major === undefined || minor === undefined) return { go };
  const [leastMajor, leastMinor] = firstSelfUpdatingGo;
  const enough = Number(major) > leastMajor || (Number(major) === leastMajor && Number(minor) >= leastMinor);
  return enough ? { go } : { why: `${go} is Go ${major}.${minor}; it takes ${leastMajor}.${leastMinor} or newer` };
}

async function usableGo(env: HostEnv): Promise<string> {
  const found = await goFor(env);
  if ("go" in found) return found.go;
  throw new FactoryError("HOST_TOOL_MISSING", {
    what: "cannot compile the embedded engine",
    why: `${found.why} (the packages of Debian 12 and Ubuntu 22.04 are too old)`,
    fix: "install Go from https://go.dev/dl/ and put it on PATH, or use another engine: BUILDKIT_HOST=tcp://…, or a docker buildx builder",
  });
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
