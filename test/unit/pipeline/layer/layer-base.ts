import { type ParentIndex, parentIndexOf } from "../../../../dagger/src/pipeline/contents/parent-index.js";
import type { Entry } from "../../../../dagger/src/pipeline/context/snapshot.js";
import { assembleLayer } from "../../../../dagger/src/pipeline/layer/plan-layer.js";
import type { LayerEntry } from "../../../../dagger/src/pipeline/layer/layer-entry.js";
import type { StageEntry } from "../../../../dagger/src/pipeline/contents/file-entry.js";
import type { Account, Owner, Step, StepOf } from "../../../../dagger/src/pipeline/steps/step.js";

const directory = (path: string, mode = "755", uid = 0, gid = 0): StageEntry => ({
  path,
  type: "directory",
  mode,
  uid,
  gid,
});
const file = (path: string, mode = "644", uid = 0, gid = 0): StageEntry => ({
  path,
  type: "file",
  mode,
  uid,
  gid,
  size: 1,
  sha256: "",
});
const link = (path: string, target: string): StageEntry => ({
  path,
  type: "symlink",
  mode: "777",
  uid: 0,
  gid: 0,
  target,
});

export const accounts = {
  "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n",
  "/etc/group": "root:x:0:\nusers:x:100:\n",
  "/etc/shadow": "root:*:19000:0:99999:7:::\n",
};

/** A base as distributions have it: usrmerge, /opt elsewhere, modes that matter, a setgid directory, a file with a capability. */
export const base: ParentIndex = parentIndexOf({
  format: 1,
  entries: [
    directory("/"),
    link("/bin", "usr/bin"),
    link("/dangling", "/nowhere/at/all"),
    directory("/etc"),
    file("/etc/group"),
    link("/etc/os-release", "../usr/lib/os-release"),
    file("/etc/passwd"),
    file("/etc/shadow", "640", 0, 42),
    directory("/home"),
    link("/loop", "loop"),
    link("/opt", "/var/opt"),
    directory("/root", "550"),
    directory("/shared", "2775", 0, 50),
    directory("/tmp", "1777"),
    directory("/usr"),
    directory("/usr/bin"),
    { ...file("/usr/bin/ping"), xattrs: { "security.capability": "AQAAAg==" } },
    directory("/usr/lib"),
    file("/usr/lib/os-release"),
    directory("/var"),
    directory("/var/opt"),
  ],
  accounts,
  packages: { manager: "none" },
});

export const sizes = new Map([["in/file", 3]]);
export const assemble = (...steps: Step[]) => assembleLayer(steps, base, sizes);
export const lines = (entries: readonly LayerEntry[]) =>
  entries.map(
    ({ path, type, mode, uid, gid, ...rest }) =>
      `${type} ${mode} ${uid}:${gid} ${path}${"target" in rest ? ` -> ${rest.target}` : ""}`,
  );

export const entry = (path: string, executable = false): Entry => ({
  kind: "file",
  path,
  executable,
  size: 1,
  sha256: "0".repeat(64),
});
export const copy = (entries: readonly Entry[], to: string, from = "app", owner: Owner = "0:0"): StepOf<"copy"> => ({
  do: "copy",
  to,
  owner,
  items: [{ from, to }],
  entries,
});
export const text = (path: string, mode = "644", owner: Owner = "0:0"): Step => ({
  do: "file",
  path,
  owner,
  mode,
  source: { text: "x" },
});
export const make = (path: string, mode = "755", owner: Owner = "0:0"): Step => ({ do: "directory", path, owner, mode });
export const user = (change: Partial<Account> = {}): Step => ({
  do: "user",
  account: { name: "me", uid: 1001, gid: 0, home: "/home/me", shell: "/bin/bash", subordinate: null, ...change },
});
export const workdir = (path: string): Step => ({
  do: "config",
  change: { env: {}, workdir: path, user: null, entrypoint: null, cmd: null, labels: {}, healthcheck: null },
});
