import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid } from "node:process";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { runInRoot } from "../../../ci/runc/container.js";
import { openRoot, type Root } from "../../../ci/runc/rootfs.js";
import { elfFiles } from "../../../ci/image-test/elf.js";
import { findProgram } from "../../../ci/host/programs.js";
import { type State, stateOf } from "../../../ci/state/state.js";
import { imageIn, type Item } from "../support/layers.js";

/** What a container of an unpacked image may do on this machine, seen from inside. */
let folder = "";
let state: State;
let root: Root;
const said: string[] = [];
const around = () => ({
  state,
  env: process.env,
  report: (line: string) => void said.push(line),
  signal: new AbortController().signal,
});
const busybox = await findProgram("busybox", process.env);

const opened = async (items: readonly Item[]): Promise<Root> => openRoot(await imageIn(state.layout, [items]), around());

const absent = await (async () => {
  if (getuid?.() !== 0) return "only root can unpack an image and start a container";
  for (const program of ["runc", "setfattr", "busybox"])
    if ((await findProgram(program, process.env)) === null) return `${program} is not installed`;
  return null;
})();
beforeEach(({ skip }) => skip(absent !== null, absent ?? ""));

beforeAll(async () => {
  if (absent !== null) return;
  folder = mkdtempSync(join(tmpdir(), "factory-container-"));
  state = stateOf(folder, { FACTORY_STATE: join(folder, "state") });
  mkdirSync(join(state.layout, "blobs/sha256"), { recursive: true });
  root = await opened([
    { name: "bin/busybox", text: readFileSync(busybox!), mode: 0o755 },
    { name: "bin/sh", type: "symlink", linkname: "busybox" },
    { name: "bin/capable", type: "link", linkname: "bin/busybox" },
    { name: "mnt", type: "directory" },
    // Asks what a file's capabilities gave it.
    {
      name: "raised/busybox",
      text: readFileSync(busybox!),
      mode: 0o755,
      pax: { "SCHILY.xattr.security.capability": capability },
    },
    { name: "host", type: "symlink", linkname: "/" },
    { name: "etc/passwd", type: "symlink", linkname: "../../../../../../../../etc/shadow" },
  ]);
});
afterAll(() => {
  root?.close();
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

/** `cap_net_raw=ep`, as a tar has it: revision 2, no namespace named. */
const capability = Buffer.from("0100000200200000000000000000000000000000", "hex").toString("latin1");

type Wish = { needs?: "nothing" | "nesting"; network?: "none" | "host"; uid?: number };
const inside = async (script: string, { needs = "nothing", network = "none", uid = 0 }: Wish = {}) => {
  const command = ["/bin/busybox", "sh", "-c", script];
  const request = {
    command,
    user: { uid, gid: 0 },
    env: ["PATH=/bin"],
    workdir: "/",
    network,
    needs,
    streams: "captured",
  } as const;
  const { exitCode, stdout, stderr } = await runInRoot(root, request, around());
  return { exitCode, stdout: stdout.trim(), stderr: stderr.trim() };
};

test("has Docker's capabilities and no more, a filter of calls, no way to new privileges, and a root that is nobody here", async () => {
  const { stdout } = await inside(
    "busybox grep -E '^(CapBnd|CapEff|Seccomp|NoNewPrivs):' /proc/self/status; busybox cat /proc/self/uid_map",
  );
  const snapshot = stdout.split("\n").map((line) => line.trim().split(/\s+/).join(" "));
  expect(snapshot).toEqual([
    "CapEff: 00000000a80425fb",
    "CapBnd: 00000000a80425fb",
    "NoNewPrivs: 1",
    "Seccomp: 2",
    "0 1073741824 1073741824",
  ]);
  expect(said.filter((line) => line.startsWith("note:"))).toEqual([]);
});

test.for([
  ["mounts nothing", "busybox mount -t tmpfs none /mnt", /not permitted|denied/],
  ["makes no namespaces", "busybox unshare -U busybox true", /not permitted/],
  ["reads no kernel log", "busybox dmesg", /not permitted/],
  ["sets no clock", "busybox date -s 2001-01-01 && busybox false", /not permitted/],
  ["sets no kernel parameter", "echo x > /proc/sys/kernel/hostname", /Read-only/],
  ["makes no device files", "busybox mknod /mnt/disk b 8 0", /not permitted/],
] as const)("%s", async ([, script, words]) => {
  const { exitCode, stderr } = await inside(script);
  expect(exitCode).not.toBe(0);
  expect(stderr).toMatch(words);
});

test("sees nothing of the machine's memory, keys and firmware", async () => {
  const { stdout } = await inside(
    "busybox head -c 1 /proc/kcore | busybox wc -c; busybox cat /proc/keys | busybox wc -c; busybox ls /sys/firmware | busybox wc -l",
  );
  expect(stdout.split("\n")).toEqual(["0", "0", "0"]);
});

test("with the host's network it is started and confined the same", async () => {
  const { exitCode, stdout, stderr } = await inside(
    "busybox cat /proc/self/uid_map && ! busybox mount -t tmpfs none /mnt 2>/dev/null",
    { network: "host" },
  );
  expect(`${exitCode} ${stderr}`).toBe("0 ");
  expect(stdout).toMatch(/1073741824/);
});

test("a file's capabilities count inside and not on this machine", async ({ skip }) => {
  const { stdout } = await inside("/raised/busybox grep CapPrm /proc/self/status", { uid: 1000, needs: "nesting" });
  expect(stdout).toMatch(/0{12}2000$/);
  const getfattr = await findProgram("getfattr", process.env);
  skip(getfattr === null, "getfattr is not installed");
  const { run } = await import("../../../ci/host/process.js");
  const { stdout: kept } = await run(getfattr!, ["-n", "security.capability", "-e", "hex", join(root.folder, "raised/busybox")]);
  // Revision 3 with the namespace's root: 1 << 30.
  expect(kept).toMatch(/=0x01000003002000000000000000000000000000000{2}000040/);
});

test("that starts containers itself gets namespaces and /dev/fuse, in its user namespace alone", async () => {
  const { exitCode, stdout, stderr } = await inside(
    "busybox unshare -U -m busybox true && (exec 3<>/dev/fuse) && busybox grep Seccomp: /proc/self/status",
    { uid: 1000, needs: "nesting" },
  );
  expect(`${exitCode} ${stderr}`).toBe("0 ");
  expect(stdout).toMatch(/2$/);
});

test("files of the root belong to nobody on this machine, and no one but root reaches them", async () => {
  const { stdout } = await inside("echo made > /mnt/file && busybox stat -c %u /mnt/file");
  expect(stdout).toBe("0");
  const { statSync } = await import("node:fs");
  expect(statSync(join(root.folder, "mnt/file")).uid).toBe(1 << 30);
  expect(statSync(join(root.folder, "..")).mode & 0o777).toBe(0o700);
});

test("what looks at the files of a root stays in it", async () => {
  mkdirSync(join(folder, "outside"), { recursive: true });
  writeFileSync(join(folder, "outside/tool"), readFileSync(busybox!));
  expect(elfFiles(root.folder, [`/host${folder}/outside`])).toEqual([]);
  expect(elfFiles(root.folder, ["/host/bin"]).map(({ path }) => path)).toEqual(["/bin/busybox", "/bin/capable"]);
});

test("leaves no bundle, no mount and no container behind, and does not empty a folder that a checkout linked", async () => {
  await inside("true");
  expect(
    readdirSync("/tmp").filter((name) => name.startsWith("factory-run-") && existsSync(join("/tmp", name, "config.json"))),
  ).toEqual([]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("factory-run-");
  mkdirSync(join(state.root, "roots/999999999-1-0123abcd/rootfs"), { recursive: true });
  mkdirSync(join(state.root, "roots/mine"));
  (await opened([])).close();
  expect(readdirSync(join(state.root, "roots")).filter((name) => name.startsWith("999999999") || name === "mine")).toEqual([
    "mine",
  ]);
  const precious = join(folder, "precious");
  mkdirSync(precious);
  writeFileSync(join(precious, "1-1-00000000"), "safe");
  const other = stateOf(folder, { FACTORY_STATE: join(folder, "other") });
  mkdirSync(other.root);
  symlinkSync(precious, join(other.root, "roots"));
  await expect(openRoot("sha256:0", { ...around(), state: other })).rejects.toMatchObject({ code: "PERMISSION" });
  expect(readdirSync(precious)).toEqual(["1-1-00000000"]);
});
