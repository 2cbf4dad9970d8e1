/**
 * # ci/runc
 *
 * Containers for looking into an image: shell, tests. They have Docker's capabilities, its filter of system calls and its hidden paths.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureHostPrograms, type HostEnv } from "../host/programs.js";
import { type Finished, run } from "../host/process.js";
import type { Root } from "./rootfs.js";
import { type ContainerRequest, runtimeSpec } from "./runtime-spec.js";

type ContainerContext = { env: HostEnv; report: (line: string) => void; signal: AbortSignal };

let count = 0;

/**
 * What is mounted for a container is mounted in a namespace of its own: whoever kills this program leaves no mount behind. The root is
 * bound to a place that the container's ids can reach, whoever owns the state folder. Arguments: root, bundle, "fuse" or "", program.
 */
const mounting = `
set -e
mount --bind "$1" "$2/rootfs"
if [ "$3" = fuse ]; then
  mount -t tmpfs -o mode=755,nosuid,noexec factory "$2/dev"
  mknod -m 666 "$2/dev/fuse" c 10 229
fi
shift 3
exec "$@"
`.trim();

/**
 * Runs a command in an unpacked image, as `docker run` would without limits of its own, and tells how it ended. What it changes in
 * the root stays there; /tmp is its own.
 * @throws FactoryError HOST_TOOL_MISSING without runc, INTERRUPTED
 */
export const runInRoot = async (root: Root, request: ContainerRequest, around: ContainerContext): Promise<Finished> => {
  const wanted = [{ program: "runc", apt: "runc" }, ...["unshare", "mount"].map((program) => ({ program, apt: "util-linux" }))];
  const programs = await ensureHostPrograms(wanted, around.env, around.report, around.signal);
  const [runc, unshare] = [programs.get("runc")!, programs.get("unshare")!];
  const bundle = mkdtempSync(join(existsSync("/tmp") ? "/tmp" : tmpdir(), "factory-run-"));
  count += 1;
  const id = `factory-${process.pid}-${count}`;
  const state = ["--root", join(bundle, "runc")];
  try {
    const fuse = request.needs === "nesting" && hasFuse();
    for (const name of ["rootfs", "dev"]) mkdirSync(join(bundle, name));
    chmodSync(bundle, 0o711);
    const machine = {
      cgroups: / - cgroup2? /.test(readFileSync("/proc/self/mountinfo", "utf8")),
      cgroupNamespace: existsSync("/proc/self/ns/cgroup"),
      fuse: fuse ? join(bundle, "dev/fuse") : null,
    };
    const spec = runtimeSpec(join(bundle, "rootfs"), root.shift, request, machine);
    writeFileSync(join(bundle, "config.json"), JSON.stringify(spec), { mode: 0o600 });
    const mounted = ["/bin/sh", "-c", mounting, "sh", root.folder, bundle, fuse ? "fuse" : ""];
    return await run(unshare, ["--mount", ...mounted, runc, ...state, "run", "--bundle", bundle, id], {
      streams: request.streams,
      signal: around.signal,
      ...(request.timeout === undefined ? {} : { timeout: request.timeout }),
    });
  } finally {
    // Killing runc's client leaves the container.
    await run(runc, [...state, "delete", "--force", id]);
    rmSync(bundle, { recursive: true, force: true });
  }
};

const hasFuse = (): boolean => statSync("/dev/fuse", { throwIfNoEntry: false })?.isCharacterDevice() === true;
