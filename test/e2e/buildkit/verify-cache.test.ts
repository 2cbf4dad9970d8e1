import { createServer, type Server } from "node:http";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Command } from "../../../ci/cli/command.js";
import type { World } from "../../../ci/host/world.js";
import { build } from "../../../ci/commands/build.js";
import { lock } from "../../../ci/commands/lock.js";
import { verifyCache } from "../../../ci/commands/verify-cache.js";
import { findProgram } from "../../../ci/host/programs.js";
import { proveCache } from "../../../ci/verify/prove.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { type CacheReport, type CaseResult, faultLines } from "../../../dagger/src/pipeline/verify/case-result.js";
import { forgetsContent } from "../../fixtures/broken-keys.js";
import { wishOf } from "../../fixtures/usual-project.js";
import { worldAt } from "../../fixtures/world.js";

const needed = ["mmdebstrap", "runc"];
const found = await Promise.all(needed.map((program) => findProgram(program, process.env)));
const absent = needed.filter((_, at) => found[at] === null).join(", ");
const fixture = fileURLToPath(new URL("../fixtures/small", import.meta.url));
const platform = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";

type Answer = { code: number; stdout: string; stderr: string; error: FactoryError | null };

describe.skipIf(absent !== "")(
  `verify:cache of the small image${absent === "" ? "" : ` (skipped: no ${absent}; see test/prepare.sh)`}`,
  () => {
    let root: string;
    let server: Server;
    const env = (): World["env"] => ({
      ...process.env,
      BUILDKIT_HOST: undefined,
      FACTORY_BUILDKIT: "embedded",
      FACTORY_STATE: join(root, "state"),
    });
    const nowhere = { FACTORY_BUILDKIT: "BUILDKIT_HOST", BUILDKIT_HOST: "unix:///nowhere/buildkitd.sock" };

    /** Runs a command as main does. */
    const type = async (
      command: Command,
      project: string,
      words: readonly string[],
      more: World["env"] = {},
    ): Promise<Answer> => {
      const { world, stdout, stderr } = worldAt(project, { ...env(), ...more });
      const ended = { code: 0, error: null as FactoryError | null };
      try {
        ended.code = await command.run(words, { ...world, now: Date.now });
      } catch (error) {
        if (!(error instanceof FactoryError)) throw error;
        Object.assign(ended, { code: error.exitCode, error });
      }
      return { ...ended, stdout: stdout(), stderr: stderr() };
    };

    /** A copy of the project whose images.yaml is changed; it shares the state folder, and so what is kept. */
    const copied = async (name: string, change: (text: string) => string): Promise<string> => {
      const folder = join(root, name);
      await cp(join(root, "small"), folder, { recursive: true });
      const text = await readFile(join(folder, "images.yaml"), "utf8");
      expect(change(text)).not.toBe(text);
      await writeFile(join(folder, "images.yaml"), change(text));
      return folder;
    };

    beforeAll(async () => {
      root = await mkdtemp(join(tmpdir(), "factory-verify-"));
      server = createServer((_, response) => response.end("#!/bin/sh\necho hello\n"));
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const project = join(root, "small");
      await cp(fixture, project, { recursive: true });
      const text = await readFile(join(project, "images.yaml"), "utf8");
      const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      await writeFile(join(project, "images.yaml"), text.replace("127.0.0.1:8080", address).replace("linux/amd64", platform));
      for (const command of [lock, build]) {
        const { code, error, stderr } = await type(command, project, []);
        if (code !== 0) throw new Error(stderr, { cause: error });
      }
    });
    afterAll(async () => {
      server.closeAllConnections();
      server.close();
      await rm(root, { recursive: true, force: true });
    });

    const of = ({ cases }: CacheReport, id: string): CaseResult => cases.find((one) => one.id === id)!;
    const did = (report: CacheReport, id: string): string =>
      of(report, id)
        .stages.map((stage) => stage.did)
        .join(" ");
    const stateOf = async (): Promise<string[]> => {
      const files = await readdir(join(root, "state"), { recursive: true });
      // Who is at work in it leaves a mark there, and takes it away.
      const kept = files.filter((path) => !/^(?:engine|users)/.test(path)).sort();
      return Promise.all(
        kept.map(async (path) => {
          const { size, mtimeMs, ino } = await stat(join(root, "state", path));
          return `${path} ${ino} ${size} ${mtimeMs}`;
        }),
      );
    };

    test("a healthy cache passes, by the engine's own reports and by the bytes", async () => {
      const before = await stateOf();
      const { code, stdout, stderr } = await type(verifyCache, join(root, "small"), ["--json", "--junit", "../junit.xml"]);
      expect(code, stdout + stderr).toBe(0);
      const report = JSON.parse(stdout) as CacheReport;
      expect(report.cases.filter(({ verdict }) => verdict !== "pass").map(({ id, why }) => `${id}: ${why}`)).toEqual([
        "setup-py: no Python project of the image has a setup.py",
        "readme-copied: no stage copies a README",
        ...(process.getuid?.() === 0 ? [] : ["owner: only root can give files away"]),
        "dependency-removed: the projects have one dependency at most, and an install of nothing proves nothing",
        "dependency-added: images.lock holds no package that only another one asks for: a new one would need a resolver",
      ]);
      expect(did(report, "nothing")).toBe("reused reused reused reused");
      expect(did(report, "code")).toBe("reused reused assembled reused");
      expect(did(report, "label")).toBe("reused reused reused assembled");
      expect(did(report, "tests")).toBe("reused reused assembled reused");
      expect(did(report, "mode")).toBe("reused reused assembled reused");
      expect(did(report, "dependency-changed")).toBe("reused executed assembled reused");
      expect(of(report, "code").stages.map(({ steps }) => steps)).toEqual(
        Array.from({ length: 4 }, () => ({ ran: 0, cached: 0 })),
      );
      expect(of(report, "dependency-changed").stages[1]!.steps).toEqual({ ran: 1, cached: 0 });
      expect(of(report, "times").evidence).toBe("no engine; same digest; 2 stages made again: same bytes");
      expect(of(report, "again").evidence).toMatch(/^engine: \d+ steps?(?:, \d+ cached)?; 3 stages made again: same bytes$/);
      for (const id of ["tool-version", "locked-package", "base"]) expect(of(report, id).proof).toBe("plan");
      expect(await readFile(join(root, "junit.xml"), "utf8")).toContain('failures="0"');
      // What the user has is what the user had; the scratch copy is gone.
      expect(await stateOf()).toEqual(before);
    });

    test("a code change is proved where no engine can be; what must execute is not tested, and why", async () => {
      const words = ["--json", "--case", "code,dependency-changed"];
      const { code, stdout } = await type(verifyCache, join(root, "small"), words, nowhere);
      expect(code).toBe(0);
      const report = JSON.parse(stdout) as CacheReport;
      expect(of(report, "code")).toMatchObject({ verdict: "pass", proof: "build" });
      expect(of(report, "dependency-changed")).toMatchObject({ verdict: "not-tested", proof: "plan" });
      expect(of(report, "dependency-changed").why).toContain("no engine can execute a stage here");
    });

    test("a run step that reads the time fails, and is named with what it wrote", async () => {
      const dated = await copied("dated", (text) =>
        text.replace("copy: [app,", 'run: ["date +%s.%N > /opt/stamp"]\n        copy: [app,'),
      );
      const { code, error, stdout } = await type(verifyCache, dated, ["--case", "nothing,again"]);
      expect({ code, error: error?.code }).toEqual({ code: 75, error: "CACHE_BROKEN" });
      expect(error?.explanation.why).toMatch(
        /^again: application: made again under the same key it came out different, in the layer of ".*": .*\/opt\/stamp/,
      );
      expect(error?.explanation.why).not.toContain("\n");
      expect(stdout).toMatch(/\n {2}nothing +reused +reused +reused +reused .* PASS\n/);
      expect(stdout).toMatch(/\n {2}nothing; made again .* FAIL\n/);
    });

    test("a key that forgets what is in the files fails, by the bytes too", async () => {
      const { world } = worldAt(join(root, "small"), env());
      const wish = { ...wishOf(forgetsContent, ["code", "readme"]), platform: undefined, depth: "usual" } as const;
      const report = await proveCache({ ...world, now: Date.now }, wish, (report) => report);
      const [stayed, remade, missing, ...rest] = faultLines(report);
      expect(stayed).toMatch(
        /^code: application: its key [0-9a-f]{12} stayed, although app\/src\/small\/__main__.py has a line more$/,
      );
      expect(remade).toMatch(
        /^code: application: made again under the same key it came out different.*: \/opt\/small\/app\/src\/small\/__main__.py$/,
      );
      expect(missing).toMatch(/^code: app\/src\/small\/__main__.py: what was changed in it is in no layer$/);
      expect(rest).toEqual([]);
    });
  },
);
