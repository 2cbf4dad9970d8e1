import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FactoryError } from "../../dagger/src/pipeline/error.js";
import { ensureHostPrograms, type HostEnv } from "../io/host.js";
import { readBlob, readManifest } from "../../dagger/src/layout.js";
import { run } from "../io/process.js";
import type { Engine, Job } from "./engine.js";

export type ShellRequest = {
  /** What to run; [] asks for the image's best shell. */
  command: readonly string[];
  interactive: boolean;
  env: HostEnv;
  report: (line: string) => void;
};

type ImageConfig = { config?: { Env?: string[]; WorkingDir?: string } };

/**
 * Runs a command in the root filesystem of a kept stage, as root and with the host's network, and returns its exit code.
 * BuildKit runs nothing outside a build, so the engine unpacks the stage and runc runs it; what is changed there is lost.
 * @throws FactoryError PERMISSION when not root, HOST_TOOL_MISSING, STEP_FAILED, INTERRUPTED
 */
export async function runInStage(
  engine: Engine,
  job: Job,
  kept: { layout: string; digest: string },
  request: ShellRequest,
  signal: AbortSignal,
) {
  if (process.getuid?.() !== 0) {
    throw new FactoryError("PERMISSION", {
      what: "cannot run a container as this user",
      why: "the shell is started by runc as root",
      fix: "run it with sudo, or write the image with OUTPUT=docker:image.tar and use podman or docker",
    });
  }
  const runc = (await ensureHostPrograms([{ program: "runc", apt: "runc" }], request.env, request.report, signal)).get("runc")!;
  const bundle = mkdtempSync(join(tmpdir(), "factory-shell-"));
  try {
    const root = join(bundle, "rootfs");
    mkdirSync(root);
    // A tar keeps owners and modes; BuildKit's export into a folder keeps neither, and was seen to hang on a whole root.
    const tar = join(bundle, "rootfs.tar");
    await engine.execute({ ...job, output: { to: "tar", file: tar } }, () => undefined, signal);
    await run("tar", ["-xpf", tar, "-C", root, "--numeric-owner"], { signal });
    rmSync(tar);
    const config = readBlob<ImageConfig>(kept.layout, readManifest(kept.layout, kept.digest).config.digest);
    writeFileSync(join(bundle, "config.json"), JSON.stringify(runtimeSpec(config, request)));
    const id = `factory-${process.pid}`;
    const { exitCode, stdout, stderr } = await run(runc, ["--root", join(bundle, "runc"), "run", "--bundle", bundle, id], {
      interactive: request.interactive,
      signal,
    });
    return { exitCode, stdout, stderr };
  } finally {
    rmSync(bundle, { recursive: true, force: true });
  }
}

const bind = (source: string) => ({ destination: source, type: "bind", source, options: ["rbind", "ro"] });

/** A container as `docker run --network host` makes one (OCI runtime spec 1.0), without limits. */
const runtimeSpec = ({ config = {} }: ImageConfig, { command, interactive }: ShellRequest) => {
  const capabilities = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
  ].concat(["CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"]);
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: interactive,
      user: { uid: 0, gid: 0 },
      args: command,
      env: [...(config.Env ?? []), ...(interactive ? [`TERM=${process.env["TERM"] ?? "xterm"}`] : [])],
      cwd: config.WorkingDir || "/",
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: "rootfs" },
    hostname: "factory",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
      },
      {
        destination: "/dev/shm",
        type: "tmpfs",
        source: "shm",
        options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
      },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["mode=1777"] },
      bind("/etc/resolv.conf"),
      bind("/sys"),
    ],
    linux: { namespaces: [{ type: "pid" }, { type: "ipc" }, { type: "uts" }, { type: "mount" }] },
  };
};
