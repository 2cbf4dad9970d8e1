import { seccompOf } from "./seccomp.js";

/** What is to run in a container. */
export type ContainerRequest = {
  command: readonly string[];
  user: { uid: number; gid: number; additionalGids?: readonly number[] };
  /** All of its environment, `NAME=value`. */
  env: readonly string[];
  workdir: string;
  /** `none`: a loopback of its own and nothing else. */
  network: "host" | "none";
  /** `terminal`: this process's, handed over. `through`: output goes, byte by byte, where this process's goes. `captured`: it is returned. */
  streams: "terminal" | "through" | "captured";
  /** `nesting`: it starts containers itself; only in a user namespace of its own. */
  needs: "nothing" | "nesting";
  /** Milliseconds. */
  timeout?: number;
};

/** What of this machine a container depends on. `fuse`: a device file for it, or null. */
export type Machine = { cgroups: boolean; cgroupNamespace: boolean; fuse: string | null };

/** Those of a container of Docker; a user other than root has none of it until a setuid program gives it some. */
const capabilities =
  "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
    .split(" ")
    .map((name) => `CAP_${name}`);

/** As Docker hides them: the machine's memory, keys and devices, and what changes the kernel's settings. */
const maskedPaths = [
  ...["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"].map(
    (name) => `/proc/${name}`,
  ),
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];
const readonlyPaths = ["bus", "fs", "irq", "sys", "sysrq-trigger"].map((name) => `/proc/${name}`);

const closed = ["nosuid", "noexec", "nodev"];
const bind = (source: string, destination: string, ...options: string[]) => ({
  destination,
  type: "bind",
  source,
  options: ["rbind", ...options],
});

/**
 * A container as `docker run` makes one (OCI runtime spec 1.0): Docker's capabilities, calls and hidden paths, and no way to more
 * privileges. With ids that were shifted it has a user namespace too: its root is nobody on this machine.
 * @param shift how far the owners of the root's files were shifted; 0: not at all, and no user namespace
 */
export const runtimeSpec = (root: string, shift: number, request: ContainerRequest, machine: Machine) => {
  const { user, network, needs, streams } = request;
  const own = user.uid === 0 ? capabilities : [];
  // A user namespace may mount a sysfs of its own network only.
  const boundSys = shift > 0 && network === "host";
  const ids = [{ containerID: 0, hostID: shift, size: shift }];
  const namespaces = [
    ...["pid", "ipc", "uts", "mount"],
    ...(network === "none" ? ["network"] : []),
    ...(machine.cgroupNamespace ? ["cgroup"] : []),
    ...(shift > 0 ? ["user"] : []),
  ];
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: streams === "terminal",
      user,
      args: request.command,
      env: request.env,
      cwd: request.workdir,
      capabilities: { bounding: capabilities, effective: own, permitted: own },
      // A container in a container is made with newuidmap, which has privileges of its own.
      noNewPrivileges: needs === "nothing",
    },
    root: { path: root },
    hostname: "factory",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: closed },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
      },
      { destination: "/dev/shm", type: "tmpfs", source: "shm", options: [...closed, "mode=1777", "size=65536k"] },
      { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: closed },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=1777"] },
      bind("/etc/resolv.conf", "/etc/resolv.conf", "ro", ...closed),
      boundSys
        ? bind("/sys", "/sys", "ro", ...closed)
        : { destination: "/sys", type: "sysfs", source: "sysfs", options: [...closed, "ro"] },
      // A nested container's runtime looks at them; runc cannot mount what this machine does not have.
      ...(machine.cgroups
        ? [{ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [...closed, "relatime", "ro"] }]
        : []),
      ...(needs === "nesting" && machine.fuse !== null ? [bind(machine.fuse, "/dev/fuse")] : []),
    ],
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      ...(shift > 0 ? { uidMappings: ids, gidMappings: ids } : {}),
      seccomp: seccompOf(needs),
      // The kernel mounts a nested /proc only where nothing of the outer one is hidden. What is there to be read belongs to ids that this
      // container does not have.
      ...(needs === "nothing" ? { maskedPaths, readonlyPaths } : {}),
      resources: { devices: [{ allow: false, access: "rwm" }, ...(needs === "nesting" ? [fuseDevice] : [])] },
    },
  };
};

const fuseDevice = { allow: true, type: "c", major: 10, minor: 229, access: "rwm" };
