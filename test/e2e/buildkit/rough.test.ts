import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { actionsOf, built, factory, startFactory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { openTiny, type Tiny } from "../support/tiny.js";
import { startWeb, type Web } from "../support/web.js";

/** Ctrl-C, several builds at once, a full disk: what is left, and how the next build goes on. */
const absent = await lacking("docker-registry", "skopeo", "busybox", "runc");

/** A place in a step where the test is told that the step has come so far, and lets it go on. */
const meetingPoint = () => {
  let arrive: () => void = () => undefined;
  let leave: () => void = () => undefined;
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  const mayLeave = new Promise<void>((resolve) => (leave = resolve));
  return { arrived, leave, page: async (): Promise<void> => (arrive(), mayLeave) };
};

describe.skipIf(absent !== null)(`in a rough world${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let tiny: Tiny;
  let web: Web;
  const points = new Map<string, ReturnType<typeof meetingPoint>>();
  const point = (path: string) => {
    const made = meetingPoint();
    points.set(path, made);
    return made;
  };
  const stateFolder = (path: string) => join(tiny.env.FACTORY_STATE, path);

  beforeAll(async () => {
    tiny = await openTiny();
    web = await startWeb((path) => async (_, response) => {
      await points.get(path)?.page();
      response.end("go on");
    });
  });
  afterAll(() => tiny.close());
  afterAll(() => web.close());

  const fetching = (path: string) => `wget -q -O /dev/null ${web.address}${path}`;
  /** The daemons of the state folder. */
  const daemons = async (): Promise<string[]> => {
    const found: string[] = [];
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const words = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
      if (words[0]?.endsWith("/buildkitd") === true && words.some((word) => word.startsWith(tiny.env.FACTORY_STATE)))
        found.push(pid);
    }
    return found;
  };

  test("Ctrl-C in the middle of a step ends the build and the daemon, and the next build goes on", async () => {
    const folder = await tiny.project(`run: [echo kept > /kept, "${fetching("/started")}; echo done > /done"]`);
    const { arrived } = point("/started");
    const running = startFactory(folder, ["build", "--verbose"], tiny.env);
    await arrived;
    expect(await daemons()).toHaveLength(1);
    // The terminal sends it to the whole group.
    process.kill(-running.process.pid!, "SIGINT");
    const { code, stderr } = await running.ended;
    expect(stderr).toContain("error INTERRUPTED: interrupted\n");
    expect(code).toBe(130);
    expect(await daemons()).toEqual([]);
    expect((await readdir(stateFolder("layout"))).filter((name) => name.startsWith("."))).toEqual([]);
    points.clear();
    const { record, stderr: next } = await built(folder, ["--verbose"], tiny.env);
    expect(actionsOf(record)["base-tools"]).toBe("execute");
    expect(next).toMatch(/run echo kept > \/kept … CACHED/);
  });

  test("two builds at once share one daemon, and the last one ends it", async () => {
    const [one, two] = [point("/one"), point("/two")];
    const running = await Promise.all(
      ["/one", "/two"]
        .map(async (path) => built(await tiny.project(`run: ["${fetching(path)}"]`), [], tiny.env).then(({ record }) => record))
        .map(async (record, index) => {
          // Both are in the middle of a step now.
          await Promise.all([one.arrived, two.arrived]);
          if (index === 0) expect(await daemons()).toHaveLength(1);
          (index === 0 ? one : two).leave();
          return record;
        }),
    );
    expect(running.map((record) => actionsOf(record)["base-tools"])).toEqual(["execute", "execute"]);
    expect(await daemons()).toEqual([]);
  });

  test("two builds of one image at once end with one digest", async () => {
    const folder = await tiny.project("run: [echo one > /one]");
    const both = await Promise.all([
      built(folder, ["--output", "oci:out"], tiny.env),
      built(folder, ["--output", "oci:out"], tiny.env),
    ]);
    expect(both[0].record.digest).toBe(both[1].record.digest);
    expect((await run("skopeo", ["inspect", `oci:${folder}/out`])).exitCode).toBe(0);
    expect((await readdir(folder)).sort()).toEqual(["images.yaml", "out"]);
  });

  test("a build that is killed leaves nothing that the next one stumbles over", async () => {
    const folder = await tiny.project(`run: ["${fetching("/killed")}; echo done > /done"]`);
    const { arrived } = point("/killed");
    const running = startFactory(folder, ["build"], tiny.env);
    await arrived;
    process.kill(-running.process.pid!, "SIGKILL");
    await running.ended;
    points.clear();
    const { record } = await built(folder, [], tiny.env);
    expect(actionsOf(record)["base-tools"]).toBe("execute");
    expect(await daemons()).toEqual([]);
  });

  describe("a full disk", () => {
    const mounted: string[] = [];
    /** A file system of 64 MB, where this user may have one. */
    const openDisk = async (name: string): Promise<string | null> => {
      const disk = join(tiny.root, name);
      await mkdir(disk);
      if (process.getuid?.() !== 0 || (await run("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", disk])).exitCode !== 0)
        return null;
      mounted.push(disk);
      return disk;
    };
    afterAll(async () => {
      for (const disk of mounted) await run("umount", ["--lazy", disk]);
    });

    test("is told as that, and the output and the stages of the time before are whole", async (context) => {
      const disk = await openDisk("for-the-state");
      if (disk === null) return context.skip("a file system of its own takes root");
      const env = { ...tiny.env, FACTORY_STATE: join(disk, "state") };
      const folder = await tiny.project("run: [echo good > /good]");
      const text = await readFile(join(folder, "images.yaml"), "utf8");
      const output = ["--output", `tar:${disk}/image.tar`];
      const good = await built(folder, output, env);
      const tar = await readFile(join(disk, "image.tar"));

      await writeFile(join(folder, "images.yaml"), text.replace("echo good > /good", "dd if=/dev/zero of=/big bs=1M count=200"));
      const full = await factory(folder, ["build", ...output], env);
      expect(full.stderr).toMatch(/error DISK_FULL: no space left while executing base-tools\n/);
      expect(full.code).toBe(74);
      expect((await readFile(join(disk, "image.tar"))).equals(tar)).toBe(true);

      await writeFile(join(folder, "images.yaml"), text);
      const again = await built(folder, [], env);
      expect(actionsOf(again.record)["base-tools"]).toBe("reuse");
      expect(again.record.digest).toBe(good.record.digest);
    });

    test("of an output is told as that, and the output of the time before is whole", async (context) => {
      const disk = await openDisk("for-the-output");
      if (disk === null) return context.skip("a file system of its own takes root");
      const folder = await tiny.project("run: [echo output > /output]");
      const output = ["--output", `tar:${disk}/other.tar`];
      await built(folder, output, tiny.env);
      const tar = await readFile(join(disk, "other.tar"));
      await run("sh", ["-c", `head -c 100000000 /dev/zero > ${disk}/filler`]);
      const { code, stderr } = await factory(folder, ["build", ...output], tiny.env);
      expect(stderr).toMatch(/error DISK_FULL: .*\n.*ENOSPC/);
      expect(code).toBe(74);
      expect((await readFile(join(disk, "other.tar"))).equals(tar)).toBe(true);
      expect((await readdir(disk)).filter((name) => name.includes("draft"))).toEqual([]);
      await rm(join(disk, "filler"));
      await built(folder, output, tiny.env);
    });
  });
});
