import { mkdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { engineExecutor } from "../../../ci/build/engine-executor.js";
import { engineOf } from "../../../ci/build/engine-on-demand.js";
import { type OpenImage, openImage, openProject, planOf, type Project } from "../../../ci/project/project.js";
import type { Plan } from "../../../dagger/src/pipeline/plan/types.js";
import { buildContract, type OpenExecutor } from "../../integration/support/build-contract.js";
import { clientOf } from "../../integration/support/client.js";
import { startRegistry, type TestRegistry } from "../../integration/support/registry.js";
import { worldAt } from "../../fixtures/world.js";
import { lacking } from "../support/needs.js";
import { platform } from "../support/small.js";
import { openTiny, type Tiny } from "../support/tiny.js";
import { startWeb, type Web } from "../support/web.js";

/** The contract of a build with BuildKit as its executor: the embedded daemon, started once for all cases. */
const absent = await lacking("docker-registry", "skopeo", "busybox", "runc");
const login = { user: "ann", password: "a-very-secret-token" };

let tiny: Tiny;
let web: Web;
let registry: TestRegistry;
let project: Project;
let open: OpenImage;
let plan: Plan;
let engine: ReturnType<typeof engineOf>;
/** What steps download now: other content under the same key. */
let content = "";

const world = () => {
  const env = { ...process.env, ...tiny.env, FACTORY_BUILDKIT: "embedded", FACTORY_SCOPE: "protected", BUILDKIT_HOST: undefined };
  return worldAt(project?.root ?? tiny.root, env).world;
};

beforeAll(async () => {
  if (absent !== null) return;
  tiny = await openTiny();
  web = await startWeb(() => (_, response) => void response.end(content));
  registry = await startRegistry({ auth: login });
  const get = (name: string) => `wget -q -O /opt-${name} ${web.address}/${name}`;
  const folder = await tiny.project(`run: ["${get("base-tools")}"]`);
  const yaml = `    stages: { base-tools: { run: ["${get("base-tools")}"] }, dependencies: { run: ["${get("dependencies")}"] }, application: {}, runtime: { cmd: [/bin/sh] } }\n`;
  const text = await readFile(join(folder, "images.yaml"), "utf8");
  await writeFile(join(folder, "images.yaml"), text.replace(/ {4}stages: .*\n/, yaml));
  project = await openProject({ ...worldAt(folder, { ...tiny.env, FACTORY_SCOPE: "protected" }).world });
  open = await openImage(project, undefined);
  plan = planOf(project, open, platform, {});
  engine = engineOf(project, world(), "buildkit");
});
afterAll(async () => {
  await engine?.release();
  await registry?.stop();
  await web?.close();
  await tiny?.close();
});

const byBuildKit: OpenExecutor = ({ layout, scratch, mark, done }) => {
  const state = { ...project.state, root: dirname(layout), layout, contexts: join(scratch, "contexts") };
  const executor = engineExecutor({
    ...{ project: { ...project, state }, open, world: world(), engine: engine.get },
    emit: () => undefined,
  });
  return {
    async execute(execution) {
      content = `${execution.stage.stage} ${mark}`;
      mkdirSync(scratch, { recursive: true });
      // What a case before this one left in the daemon's own cache is not part of the case.
      const result = await executor.execute({ ...execution, noCache: true });
      done(execution.stage.stage);
      return result;
    },
  };
};

let count = 0;
for (const [store, cache] of [
  ["state folder", "no cache"],
  ["layout of a function", "registry with basic auth"],
] as const)
  buildContract({
    ...{ store, cache, executor: "BuildKit", openExecutor: byBuildKit, skip: absent },
    repository: cache === "no cache" ? null : () => clientOf(registry.host, login).repository(`team/box-${++count}`, "push"),
    ...{ lose: null, unreachable: null },
    root: () => tiny.root,
    plans: () => ({ plans: [plan], source: { folder: open.folder, snapshot: open.snapshot } }),
  });
