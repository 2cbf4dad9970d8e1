import { readdir } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { buildkitEngine } from "../../../ci/engines/buildkit/buildkit-engine.js";
import type { Job } from "../../../ci/engines/interface/engine.js";
import { type Bench, manifestOf, openBench } from "./buildkit.jobs.js";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench({ shared: true });
});
afterAll(async () => {
  await bench.close();
});

const failureOf = async (job: Job): Promise<FactoryError> =>
  bench.execute(job).then(
    () => expect.fail("it was built"),
    (error: unknown) => error as FactoryError,
  );

test("a failing RUN says which step, its exit code and its last lines", async () => {
  // All to one stream: between the two of a process there is no order, and what comes first may be none of the last lines.
  const job = await bench.job(
    "RUN exec >&2; for i in $(/bin/busybox seq 1 30); do echo line $i; done; echo to stderr >&2; exit 7",
  );
  const error = await failureOf(job);
  expect(error.code).toBe("STEP_FAILED");
  expect(error.explanation.what).toMatch(/^a step of base-tools failed with exit code 7: .*RUN exec >&2; for i in/);
  expect(error.explanation.why.split("\n")).toHaveLength(20);
  expect(error.explanation.why).toMatch(/line 30\nto stderr$|to stderr\n.*line 30$/);
});

test("a step that fails stops its neighbours, and is the one that is blamed", async () => {
  const job = await bench.job("COPY --from=slow /x /x\nCOPY --from=broken /x /x", {});
  const sides = ["FROM base AS slow", "RUN /bin/busybox sleep 600", "FROM base AS broken", "RUN echo broken; exit 3", ""].join(
    "\n",
  );
  const error = await failureOf({
    ...job,
    dockerfile: job.dockerfile.replace("FROM base AS base-tools", `${sides}FROM base AS base-tools`),
  });
  expect(error.explanation).toMatchObject({
    what: expect.stringContaining("exit code 3") as string,
    why: "broken",
  });
});

test("a base that no registry has", async () => {
  // Port 1 of this machine: nothing listens there, and nothing leaves the machine.
  const error = await failureOf(
    await bench.job("", {
      dockerfile: "FROM 127.0.0.1:1/nobody/nothing:1 AS base-tools\nCOPY --from=box busybox /x\n",
    }),
  );
  expect(error.code).toBe("BASE_UNREACHABLE");
  expect(error.explanation.why).toContain("127.0.0.1:1");
});

test("an image whose layout lacks it", async () => {
  const images = {
    lower: {
      layout: await bench.folder("hollow", { "oci-layout": '{"imageLayoutVersion":"1.0.0"}' }),
      digest: `sha256:${"0".repeat(64)}`,
    },
  };
  const error = await failureOf(
    await bench.job("", {
      images,
      dockerfile: "FROM lower AS base-tools\nCOPY --from=box busybox /x\n",
    }),
  );
  expect(error.code).toBe("BASE_UNREACHABLE");
});

test("a program of another architecture, with the way to emulate it", async () => {
  // The header of an ELF file for IBM S/390, which no emulator is registered for on a machine that tests this.
  const elf = "\\177ELF\\002\\002\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\002\\000\\026\\000\\000\\000\\001";
  const error = await failureOf(
    await bench.job(`RUN /bin/busybox printf '${elf}' > /foreign && /bin/busybox chmod 755 /foreign\nRUN ["/foreign"]`),
  );
  expect(error.code).toBe("PLATFORM_UNSUPPORTED");
  expect(error.explanation.fix).toContain("qemu-user-static");
});

test("a Dockerfile that cannot be read", async () => {
  const error = await failureOf(await bench.job("NOSUCH instruction"));
  expect(error.code).toBe("ENGINE_FAILED");
  expect(error.explanation.why).toContain("unknown instruction: NOSUCH");
});

test("an engine that is not there", async () => {
  const job = await bench.job("");
  const connection = {
    address: "nowhere",
    features: new Set<never>(),
    open: async () => ({
      client: {
        kind: "buildctl" as const,
        program: (await bench.setupBinaries()).buildctl,
        address: `unix://${bench.path("nothing.sock")}`,
      },
      close: async () => undefined,
    }),
  };
  const failed = buildkitEngine(connection).execute(job, () => undefined, new AbortController().signal);
  await expect(failed).rejects.toMatchObject({
    code: "ENGINE_FAILED",
    message: expect.stringContaining("nowhere") as string,
  });
});

test("a build that is stopped in the middle leaves no rubbish, and the engine builds on", async () => {
  const stop = new AbortController();
  const job = await bench.job("RUN echo under way; /bin/busybox sleep 600", { noCache: true });
  const stopped = bench.engine.execute(job, (event) => event.type === "step-output" && stop.abort(), stop.signal);
  await expect(stopped).rejects.toMatchObject({ code: "INTERRUPTED" });
  expect((await readdir(bench.path("layout"))).filter((name) => name.startsWith("."))).toEqual([]);
  const { digest } = await bench.execute(await bench.job("RUN echo on > /on"));
  expect((await manifestOf(bench.path("layout"), digest)).layers).toHaveLength(2);
});
