import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { reportOf, type StageContent } from "../../../../dagger/src/pipeline/report/image-report.js";
import { imageReportText } from "../../../../dagger/src/pipeline/report/report-text.js";
import type { FileIndex, PackageList, StageEntry } from "../../../../dagger/src/pipeline/contents/file-entry.js";

/** A report is a fold over what the stages' indexes say: no file is counted twice, and each is of the stage that made it what it is. */
const file = (path: string, size: number, sha256 = path, more: Partial<StageEntry> = {}): StageEntry => ({
  path,
  type: "file",
  mode: "644",
  uid: 0,
  gid: 0,
  size,
  sha256,
  ...more,
});
const index = (entries: StageEntry[], packages: PackageList = { manager: "none" }): FileIndex => ({
  format: 1,
  entries: entries.sort((a, b) => (a.path < b.path ? -1 : 1)),
  accounts: {},
  packages,
});
const about = { image: "box", platform: "linux/amd64" } as const;

const added = (path: string, size: number, sha256 = path) =>
  ({ path, type: "file", mode: "644", uid: 0, gid: 0, size, sha256, content: { from: path } }) as const;

const box: StageContent[] = [
  {
    stage: "base-tools",
    kind: "executed",
    layers: [{ size: 700 }, { size: 100 }],
    index: index([file("/usr/bin/a", 1000, "a"), file("/usr/bin/b", 200, "b"), file("/etc/passwd", 50), file("/README", 5)]),
  },
  {
    stage: "dependencies",
    kind: "executed",
    layers: [{ size: 90 }],
    index: index(
      [
        file("/usr/bin/a", 1000, "a"),
        // Its owner is another: a layer holds it anew.
        file("/usr/bin/b", 200, "b", { uid: 7 }),
        file("/etc/passwd", 50),
        file("/README", 5),
        file("/opt/venv/lib/x", 300, "x"),
        file("/opt/venv/lib/y", 300, "x", { hardlink: "/opt/venv/lib/x" }),
        { path: "/opt/venv", type: "directory", mode: "755", uid: 0, gid: 0 },
      ],
      { manager: "dpkg", installed: ["bash 5.2", "jq 1.6"] },
    ),
  },
  { stage: "application", kind: "assembled", layers: null, entries: [added("/opt/app/a", 1000, "a"), added("/opt/app/m", 3)] },
  {
    stage: "runtime",
    kind: "assembled",
    layers: [{ size: 10 }],
    entries: [added("/etc/passwd", 60, "new"), { path: "/home/x", type: "directory", mode: "775", uid: 1, gid: 0 }],
  },
];

describe("the report of an image", () => {
  test("gives each stage what it brought and what is still there", () => {
    const { stages, total } = reportOf(about, box, 10);
    expect(stages).toEqual([
      { stage: "base-tools", layers: 2, packed: 800, files: 2, unpacked: 1005 },
      { stage: "dependencies", layers: 1, packed: 90, files: 3, unpacked: 500 },
      { stage: "application", layers: null, packed: null, files: 2, unpacked: 1003 },
      { stage: "runtime", layers: 1, packed: 10, files: 1, unpacked: 60 },
    ]);
    expect(total).toEqual({ layers: null, packed: null, files: 8, unpacked: 2568 });
  });

  test("names folders, files and copies, largest first, and no more than asked for", () => {
    const { folders, files, copies, packages } = reportOf(about, box, 3);
    expect(folders).toEqual([
      { path: "/usr/bin", files: 2, unpacked: 1200 },
      { path: "/opt/app", files: 2, unpacked: 1003 },
      { path: "/opt/venv", files: 2, unpacked: 300 },
    ]);
    expect(files.map(({ path, stage }) => `${path} ${stage}`)).toEqual([
      "/opt/app/a application",
      "/usr/bin/a base-tools",
      "/opt/venv/lib/x dependencies",
    ]);
    // A hard link is no copy: it takes no room.
    expect(copies).toEqual([{ paths: ["/opt/app/a", "/usr/bin/a"], unpacked: 1000 }]);
    expect(packages).toEqual({ manager: "dpkg", installed: ["bash 5.2", "jq 1.6"] });
  });

  test("as a person reads it", () => {
    expect(imageReportText(reportOf(about, box, 3), "-- --json")).toBe(`box for linux/amd64
  stage         layers  packed  unpacked  files
  base-tools    2       800 B   1.0 kB    2
  dependencies  1       90 B    500 B     3
  application   –       –       1.0 kB    2
  runtime       1       10 B    60 B      1
  total         –       –       2.6 kB    8

largest folders
  1.2 kB  /usr/bin   2 files
  1.0 kB  /opt/app   2 files
  300 B   /opt/venv  2 files

largest files
  1.0 kB  /opt/app/a       application
  1.0 kB  /usr/bin/a       base-tools
  300 B   /opt/venv/lib/x  dependencies

held more than once
  1.0 kB  /opt/app/a, /usr/bin/a

2 packages of dpkg; all of them: -- --json
`);
  });

  test("law: stages, folders and the whole are the same bytes, however the files came", () => {
    const path = fc.constantFrom("/a", "/b/c", "/b/d/e", "/b/d/f/g", "/h/i/j", "/h/k");
    const content = fc.constantFrom({ size: 0, sha256: "p" }, { size: 10, sha256: "q" }, { size: 700, sha256: "r" });
    const files = fc.uniqueArray(
      fc.tuple(path, content).map(([path, content]) => ({ path, ...content })),
      { selector: (one) => one.path },
    );
    const sum = (shares: readonly { unpacked: number; files: number }[]) =>
      shares.reduce((all, one) => ({ unpacked: all.unpacked + one.unpacked, files: all.files + one.files }), {
        unpacked: 0,
        files: 0,
      });
    fc.assert(
      fc.property(files, files, files, (first, second, third) => {
        const contents: StageContent[] = [
          {
            stage: "base-tools",
            kind: "executed",
            layers: [],
            index: index(first.map((one) => file(one.path, one.size, one.sha256))),
          },
          {
            stage: "dependencies",
            kind: "executed",
            layers: [],
            index: index(second.map((one) => file(one.path, one.size, one.sha256))),
          },
          {
            stage: "application",
            kind: "assembled",
            layers: [],
            entries: third.map((one) => added(one.path, one.size, one.sha256)),
          },
        ];
        const { stages, folders, total } = reportOf(about, contents, 100);
        const last = new Map([...second, ...third].map((one) => [one.path, one.size]));
        const whole = { unpacked: [...last.values()].reduce<number>((a, b) => a + b, 0), files: last.size };
        expect({ unpacked: total.unpacked, files: total.files }).toEqual(whole);
        expect(sum(stages)).toEqual(whole);
        expect(sum(folders)).toEqual(whole);
      }),
    );
  });
});
