import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Allowance, allowances, buildMounts } from "../../../../dagger/src/pipeline/compare/allowances.js";
import { differenceText } from "../../../../dagger/src/pipeline/compare/differences-text.js";
import { allAllowances, compareImages } from "../../../../dagger/src/pipeline/compare/compare-images.js";
import { type ImageValue } from "../../../../dagger/src/pipeline/compare/image-difference.js";
import type { ImageConfig } from "../../../../dagger/src/pipeline/oci/image-config.js";
import type { StageEntry } from "../../../../dagger/src/pipeline/contents/file-entry.js";
import { sha256 } from "../../../fixtures/scratch.js";

const file = (path: string, text: string, more: Partial<StageEntry> = {}): StageEntry => ({
  path,
  type: "file",
  mode: "644",
  uid: 0,
  gid: 0,
  size: Buffer.byteLength(text),
  sha256: sha256(text),
  ...more,
});
const folder = (path: string, more: Partial<StageEntry> = {}): StageEntry => ({
  path,
  type: "directory",
  mode: "755",
  uid: 0,
  gid: 0,
  ...more,
});
const link = (path: string, target: string): StageEntry => ({ path, type: "symlink", mode: "777", uid: 0, gid: 0, target });

const config: ImageConfig = {
  architecture: "amd64",
  os: "linux",
  created: "1980-01-02T00:00:00Z",
  config: {
    Env: ["PATH=/bin", "LEVEL=1"],
    Cmd: ["sh"],
    Labels: { a: "1" },
    User: "1001:0",
    Volumes: { "/data": {} },
    Healthcheck: { Test: ["CMD", "true"], Interval: 30e9 },
  },
  rootfs: { type: "layers", diff_ids: ["sha256:1"] },
  history: [{ created_by: "one" }],
};
const entries: StageEntry[] = [
  folder("/"),
  link("/bin", "usr/bin"),
  folder("/usr"),
  folder("/usr/bin"),
  file("/usr/bin/tool", "tool", { mode: "4755", xattrs: { "security.capability": "AAA=" } }),
  folder("/usr/lib"),
  file("/usr/lib/x", "x"),
  file("/usr/lib/y", "y"),
];
const image = (change: { config?: Partial<ImageConfig> | null; entries?: readonly StageEntry[] } = {}): ImageValue => ({
  config: change.config === null ? null : { ...config, ...change.config },
  index: { format: 1, entries: change.entries ?? entries, accounts: {}, packages: { manager: "none" } },
});
/** The entries with one of them changed, or taken away. */
const but = (path: string, change: Partial<StageEntry> | null): StageEntry[] =>
  entries.flatMap((entry) => (entry.path !== path ? [entry] : change === null ? [] : [{ ...entry, ...change }]));
const told = (a: ImageValue, b: ImageValue, ignore?: ReadonlySet<Allowance>) => compareImages(a, b, ignore).map(differenceText);

test("an image is equal to itself, whatever is left out", () => {
  expect(compareImages(image(), image())).toEqual([]);
  expect(compareImages(image(), image(), new Set())).toEqual([]);
});

describe("a file that differs is named, with what differs", () => {
  test.each<[string, StageEntry[], string[]]>([
    ["content", but("/usr/lib/x", file("/usr/lib/x", "other")), ["/usr/lib/x: content 2d711642b726 (1 B) → d9298a10d1b0 (5 B)"]],
    ["mode", but("/usr/bin", { mode: "2755" }), ["/usr/bin: mode 755 → 2755"]],
    ["setuid", but("/usr/bin/tool", { mode: "755" }), ["/usr/bin/tool: mode 4755 → 755"]],
    ["owner", but("/usr/lib/y", { uid: 7, gid: 8 }), ["/usr/lib/y: owner 0:0 → 7:8"]],
    ["link", but("/bin", { target: "usr/sbin" }), ["/bin: points to usr/bin → usr/sbin"]],
    ["attribute", but("/usr/bin/tool", { xattrs: {} }), ["/usr/bin/tool: security.capability AAA= → absent"]],
    ["type", but("/bin", folder("/bin")), ["/bin: symlink → directory"]],
    ["absence", but("/usr/lib/y", null), ["/usr/lib/y: only in A (file)"]],
    ["presence", [...entries, file("/z", "")], ["/z: only in B (file)"]],
    [
      "a folder, with what it holds told once",
      entries.filter(({ path }) => !path.startsWith("/usr")),
      ["/usr: only in A (directory with 5 paths below)"],
    ],
    [
      "hard links",
      but("/usr/lib/y", file("/usr/lib/y", "y")).map((entry) =>
        entry.path === "/usr/lib/x" ? file("/usr/lib/x", "y", { hardlink: "/usr/lib/y" }) : entry,
      ),
      ["/usr/lib/x: content 2d711642b726 (1 B) → a1fce4363854 (1 B)", "/usr/lib/x: one inode with nothing → with /usr/lib/y"],
    ],
    ["a name that a terminal would act on", [...entries, file("/\u001b[2J", "")], ['"/\\u001b[2J": only in B (file)']],
  ])("%s", (_name, changed, wanted) => {
    expect(told(image(), image({ entries: changed }))).toEqual(wanted);
  });

  test("hard links are groups: which name the layer told first does not count, and a parted link is none", () => {
    const pair = (first: string, second: string) => [file(first, "same"), file(second, "same", { hardlink: first })];
    const sorted = (list: StageEntry[]) => list.sort((a, b) => (a.path < b.path ? -1 : 1));
    expect(told(image({ entries: pair("/a", "/b") }), image({ entries: sorted(pair("/b", "/a")) }))).toEqual([]);
    const parted = [file("/a", "new"), file("/b", "same", { hardlink: "/a" })];
    expect(told(image({ entries: parted }), image({ entries: [file("/a", "new"), file("/b", "same")] }))).toEqual([]);
  });
});

describe("a field of the config that differs is named", () => {
  const runtime = config.config!;
  test.each<[string, Partial<ImageConfig>, string[]]>([
    ["a variable", { config: { ...runtime, Env: ["PATH=/bin", "LEVEL=2"] } }, ["config.Env.LEVEL: 1 → 2"]],
    ["a variable that is set to nothing", { config: { ...runtime, Env: ["PATH=/bin", "LEVEL="] } }, ['config.Env.LEVEL: 1 → ""']],
    ["the command", { config: { ...runtime, Cmd: ["sh", "-l"] } }, ['config.Cmd: ["sh"] → ["sh","-l"]']],
    ["the user", { config: { ...runtime, User: "1001" } }, ["config.User: 1001:0 → 1001"]],
    ["a volume", { config: { ...runtime, Volumes: {} } }, ["config.Volumes./data: {} → absent"]],
    ["a label", { config: { ...runtime, Labels: { a: "1", b: "" } } }, ['config.Labels.b: absent → ""']],
    [
      "a healthcheck",
      { config: { ...runtime, Healthcheck: null } },
      ["config.Healthcheck.Interval: 30000000000 → absent", 'config.Healthcheck.Test: ["CMD","true"] → absent'],
    ],
    ["a field that nobody knows", { config: { ...runtime, Later: "x" } }, ["config.Later: absent → x"]],
    ["the platform", { architecture: "arm64" }, ["architecture: amd64 → arm64"]],
  ])("%s", (_name, changed, wanted) => {
    expect(told(image(), image({ config: changed }))).toEqual(wanted);
  });

  test("what is empty is absent", () => {
    const empty = {
      ...runtime,
      Entrypoint: null,
      OnBuild: [],
      WorkingDir: "",
      ExposedPorts: {},
      Healthcheck: { ...(runtime["Healthcheck"] as object), Retries: 0 },
    };
    expect(told(image(), image({ config: { config: empty, author: "" } }), new Set())).toEqual([]);
  });

  test("a root filesystem has none", () => expect(told(image({ config: null }), image({ config: { os: "plan9" } }))).toEqual([]));
});

describe("what is left out, and counts when it is not", () => {
  const runtime = config.config!;
  const arm = { architecture: "arm64" };
  const cases: Record<Allowance, [ImageValue, ImageValue]> = {
    created: [image(), image({ config: { created: "2026-01-01T00:00:00Z" } })],
    history: [image(), image({ config: { history: [{ created_by: "another" }] } })],
    layers: [image(), image({ config: { rootfs: { type: "layers", diff_ids: ["sha256:2"] } } })],
    "env-order": [image(), image({ config: { config: { ...runtime, Env: ["LEVEL=1", "PATH=/bin"] } } })],
    variant: [image({ config: arm }), image({ config: { ...arm, variant: "v8" } })],
    "builder-notes": [
      image(),
      image({ config: { docker_version: "20", config: { ...runtime, Hostname: "abc" } } as Partial<ImageConfig> }),
    ],
    "build-mounts": [
      image(),
      image({ entries: [...entries, folder("/run"), folder("/run/secrets"), folder("/var/cache/apt/archives")] }),
    ],
    "mount-points": [image(), image({ entries: [...entries, folder("/etc"), file("/etc/hosts", ""), folder("/proc")] })],
  };
  test.each(Object.keys(allowances) as Allowance[])("%s", (name) => {
    const [a, b] = cases[name];
    const rest =
      { "mount-points": ["/etc: only in B (directory)"], "build-mounts": ["/run: only in B (directory)"] }[name as string] ?? [];
    expect(told(a, b)).toEqual(rest);
    const others = new Set([...allAllowances].filter((one) => one !== name));
    expect(told(a, b, others).length).toBeGreaterThan(rest.length);
  });

  test("every target that a rendered Dockerfile mounts at is known", () => {
    const texts = ["Dockerfile", "builder-debian.Dockerfile"].map((name) =>
      readFileSync(fileURLToPath(new URL(`../../../../builder/${name}`, import.meta.url)), "utf8"),
    );
    const targets = texts.flatMap((text) => [...text.matchAll(/--mount=\S*target=([^\s,]+)/g)].map(([, target]) => target!));
    expect(targets.length).toBeGreaterThan(10);
    expect(targets.filter((target) => !buildMounts.test(target))).toEqual([]);
  });

  test("a mount point that holds something counts", () => {
    expect(told(image(), image({ entries: [...entries, file("/etc/hosts", "127.0.0.1 me")] }))).toEqual([
      "/etc/hosts: only in B (file)",
    ]);
  });
});

const path = fc
  .array(fc.constantFrom("a", "b", "a-b", "ü"), { minLength: 1, maxLength: 4 })
  .map((words) => `/${words.join("/")}`);
const entry = fc.record({
  path,
  kind: fc.constantFrom("file", "directory", "symlink"),
  mode: fc.constantFrom("644", "755"),
  uid: fc.nat(2),
  text: fc.constantFrom("", "x", "y"),
});
const trees = fc
  .uniqueArray(entry, { selector: ({ path: at }) => at, maxLength: 12 })
  .map((list) =>
    list
      .map(({ path: at, kind, mode, uid, text }) =>
        kind === "file" ? file(at, text, { mode, uid }) : kind === "directory" ? folder(at, { mode, uid }) : link(at, text),
      )
      .sort((a, b) => (a.path < b.path ? -1 : 1)),
  );

test("law: equal exactly when the values are, and the same from the other side", () => {
  fc.assert(
    fc.property(trees, trees, (one, two) => {
      const [a, b] = [image({ entries: one }), image({ entries: two })];
      const there = compareImages(a, b);
      expect(there.length === 0).toBe(JSON.stringify(one) === JSON.stringify(two));
      expect(compareImages(b, a)).toHaveLength(there.length);
      expect(compareImages(a, image({ entries: structuredClone(one) }))).toEqual([]);
      // What is on one side only is told once, by its top.
      const alone = there.flatMap((each) => (each.differs === "presence" ? [each] : []));
      const counted = alone.reduce((sum, { below }) => sum + 1 + below, 0);
      const names = [new Set(one.map(({ path: at }) => at)), new Set(two.map(({ path: at }) => at))] as const;
      expect(counted).toBe(
        [...names[0]].filter((at) => !names[1].has(at)).length + [...names[1]].filter((at) => !names[0].has(at)).length,
      );
    }),
    { numRuns: 300 },
  );
});
