import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureHostPrograms, type HostEnv } from "../io/host.js";
import { type Finished, run } from "../io/process.js";
import type { Root } from "./root.js";

export type ContainerRequest = {
  command: readonly string[];
  user: { uid: number; gid: number; additionalGids?: readonly number[] };
  /** All of its environment, `NAME=value`. */
  env: readonly string[];
  workdir: string;
  /** `none`: a loopback of its own and nothing else. */
  network: "host" | "none";
  /** Hands the terminal over. */
  interactive: boolean;
  /** Milliseconds. */
  timeout?: number;
};

type Surroundings = { env: HostEnv; report: (line: string) => void; signal: AbortSignal };

let count = 0;

/**
 * Runs a command in an unpacked image, as `docker run` would without limits of its own, and tells how it ended. What it changes in
 * the root stays there; /tmp is its own.
 * @throws FactoryError HOST_TOOL_MISSING without runc, INTERRUPTED
 */
export const runInRoot = async (root: Root, request: ContainerRequest, around: Surroundings): Promise<Finished> => {
  const runc = (await ensureHostPrograms([{ program: "runc", apt: "runc" }], around.env, around.report, around.signal)).get(
    "runc",
  )!;
  const bundle = mkdtempSync(join(tmpdir(), "factory-run-"));
  count += 1;
  const id = `factory-${process.pid}-${count}`;
  const state = ["--root", join(bundle, "runc")];
  try {
    writeFileSync(join(bundle, "config.json"), JSON.stringify(runtimeSpec(root.folder, request)));
    return await run(runc, [...state, "run", "--bundle", bundle, id], {
      interactive: request.interactive,
      signal: around.signal,
      ...(request.timeout === undefined ? {} : { timeout: request.timeout }),
    });
  } finally {
    // Killing runc's client leaves the container.
    await run(runc, [...state, "delete", "--force", id]);
    rmSync(bundle, { recursive: true, force: true });
  }
};

const bind = (source: string) => ({ destination: source, type: "bind", source, options: ["rbind", "ro"] });

/** What a container of Docker may come to have; a user other than root has none of it until a setuid program gives it some. */
const capabilities = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
  .split(" ")
  .map((name) => `CAP_${name}`);

/** A nested container's runtime looks at them; runc cannot mount what this machine does not have. */
const cgroups = (): boolean => / - cgroup2? /.test(readFileSync("/proc/self/mountinfo", "utf8"));

/** A container as `docker run` makes one (OCI runtime spec 1.0), with /dev/fuse where this machine has it. */
const runtimeSpec = (folder: string, request: ContainerRequest) => {
  const { user, network, interactive } = request;
  const own = user.uid === 0 ? capabilities : [];
  const fuse = statSync("/dev/fuse", { throwIfNoEntry: false })?.isCharacterDevice() === true;
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: interactive,
      user,
      args: request.command,
      env: request.env,
      cwd: request.workdir,
      capabilities: { bounding: capabilities, effective: own, permitted: own },
      noNewPrivileges: false,
    },
    root: { path: folder },
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
      { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["mode=1777"] },
      bind("/etc/resolv.conf"),
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
      ...(cgroups()
        ? [
            {
              destination: "/sys/fs/cgroup",
              type: "cgroup",
              source: "cgroup",
              options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
            },
          ]
        : []),
    ],
    linux: {
      namespaces: ["pid", "ipc", "uts", "mount", ...(network === "none" ? ["network"] : [])].map((type) => ({ type })),
      devices: fuse ? [{ path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 0 }] : [],
    },
  };
};
