import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stageContainers } from "../../../dagger/src/dagger/stage-container.js";
import { contextOf } from "../../../dagger/src/dagger/sdk-types.js";
import { baseContainer } from "../../../dagger/src/dagger/base-container.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import type { StageName } from "../../../dagger/src/pipeline/common/stage.js";
import { programOf } from "../../dagger-session/program.js";
import { openSession, type Session } from "../../dagger-session/session.js";
import { entries, file, hex, lockWith, planOf, replaced } from "../../fixtures/box.js";

/** What the client library asks an engine for, recorded: the renderer's whole output as a text. */
let session: Session;
beforeAll(async () => {
  session = await openSession();
  Object.assign(process.env, session.env);
});
afterAll(async () => {
  delete process.env["DAGGER_SESSION_PORT"];
  delete process.env["DAGGER_SESSION_TOKEN"];
  await session.close();
});

type Options = { secrets?: readonly string[]; fresh?: string };

const program = async (plan: Plan, upTo: StageName, { secrets = [], fresh }: Options = {}) => {
  const { connect } = await import("@dagger.io/dagger");
  let id = "";
  const names: string[] = [];
  await connect(async (client) => {
    const known = new Map(secrets.map((one) => [one, client.secret(`env://${one.toUpperCase()}`)]));
    let below = baseContainer(client, plan, known).container;
    for (const stage of plan.stages) {
      const context = contextOf((path, include) =>
        client.host().directory(`/context/${path}`, include.length === 0 ? {} : { include: [...include] }),
      );
      const built = stageContainers(plan, stage, {
        client,
        below,
        context,
        secrets: known,
        fresh: fresh ?? null,
        caches: "image-factory",
      });
      below = built.container;
      if (stage.stage === upTo) names.push(...built.pieces.map(({ name, beside }) => `${name}${beside ? " (beside)" : ""}`));
      if (stage.stage === upTo) break;
    }
    id = await below.id();
  });
  const chain = session.chainOf(id)!;
  return { text: programOf(chain, session), names, chain };
};

describe("the containers of an image", () => {
  test("every step", async () => {
    const { text } = await program(planOf(), "runtime");
    await expect(text).toMatchFileSnapshot("../../fixtures/dagger/box.txt");
  });

  test("compiled beside the stage, secrets, a config with everything", async () => {
    const everything = (text: string) =>
      replaced(
        "tools: [task]",
        "tools: [task, kit]",
      )(text)
        .replace(
          "tools:\n  task:",
          "secrets:\n  index: { from: env:INDEX, as: env:PIP_INDEX_URL }\n  netrc: { from: file:netrc, as: file:/root/.netrc }\ntools:\n  kit: { version: 2.0.0, go: { source: kit, toolchain: 1.26.4 } }\n  task:",
        )
        .replace(
          "cmd: [sh]",
          "cmd: [sh]\n        entrypoint: [/sbin/tini, --]\n        workdir: /workspace/here\n        labels: { b: two, a: one }\n        healthcheck: { command: [box, --check], interval: 30s, timeout: 100ms, start-period: 1m, retries: 5 }",
        );
    const lock = lockWith(({ tools }) => {
      tools["kit"] = { go: { "1.26.4": { "linux/amd64": { url: "https://example.org/go.whl", sha256: hex("f") } } } };
    });
    const plan = planOf({ spec: everything, lock, entries: [...entries, file("kit/go.mod"), file("kit/main.go")] });
    const { text, names } = await program(plan, "base-tools", { secrets: ["host-ca", "index", "netrc"], fresh: "once" });
    await expect(text).toMatchFileSnapshot("../../fixtures/dagger/compile.txt");
    expect(names).toEqual([
      "install 2 packages with apt (3 locked)",
      "compile kit 2.0.0 (beside)",
      "unpack task 1.0.0",
      "place kit",
      "place /etc/box.conf, /etc/from",
    ]);
    const { chain } = await program(plan, "runtime");
    const configs = chain
      .map(({ field }) => field)
      .filter((field) => /^with(?:Label|Entrypoint|DefaultArgs|Docker|User|Workdir)/.test(field));
    expect(configs).toEqual([
      "withLabel",
      "withLabel",
      "withWorkdir",
      "withEntrypoint",
      "withDefaultArgs",
      "withDockerHealthcheck",
      "withUser",
    ]);
  });

  test.each([
    ["without a certificate", []],
    ["with one", ["host-ca"]],
  ])("a base that is bootstrapped %s names no place at which nothing is mounted", async (_, secrets) => {
    const plan = planOf();
    const base: Plan["base"] = {
      kind: "bootstrap",
      distribution: "debian",
      suite: "bookworm",
      mirror: "http://debian.example/debian",
      include: ["ca-certificates"],
      packages: null,
    };
    const { text } = await program({ ...plan, base }, "base-tools", { secrets });
    expect(text).toContain("mmdebstrap");
    expect(text.includes(" /run /run/secrets ")).toBe(secrets.length > 0);
    await expect(text).toMatchFileSnapshot(`../../fixtures/dagger/bootstrap-${secrets.length}.txt`);
  });
});
