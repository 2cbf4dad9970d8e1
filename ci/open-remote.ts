import { homedir } from "node:os";
import { fetchBlobs, type Pulled, type PulledStage, pullStage } from "../dagger/src/pull-stage.js";
import { missingBlobs } from "../dagger/src/layout.js";
import type { Plan, PlannedStage } from "../dagger/src/pipeline/plan.js";
import { stageTag } from "../dagger/src/pipeline/stage-ref.js";
import { openRegistry, type Registry, type Repository } from "../dagger/src/registry/client.js";
import { environmentCredentials, findCredentials } from "../dagger/src/registry/credentials.js";
import { parseRepository } from "../dagger/src/registry/reference.js";
import { brief, patient } from "../dagger/src/registry/retry.js";
import type { World } from "./command.js";
import { nameInLayout } from "./io/oci-layout.js";
import { run } from "./io/process.js";
import { keepStage } from "./io/records.js";
import type { State } from "./io/state.js";
import { notHere, type Remote, type Traffic } from "./remote.js";
import { branchSuffix, scopeOf } from "./scope.js";
import { bytes } from "./view/table.js";

/**
 * The registry of an image. Nothing is asked before the first question.
 * @param access `push` asks for one token that serves both
 * @throws FactoryError REFERENCE_INVALID, USAGE
 */
export const openRemote = (state: State, plan: Pick<Plan, "repository">, world: World, access: "pull" | "push"): Remote => {
  const name = parseRepository(plan.repository);
  const traffic: Traffic = { requests: 0, up: 0, down: 0, layers: 0 };
  const registry: Registry = openRegistry({
    registry: name.registry,
    env: world.env,
    signal: world.signal,
    patience: access === "push" ? patient : brief,
    credentials: async () =>
      environmentCredentials(world.env) ??
      findCredentials(name, {
        env: world.env,
        home: world.env["HOME"] ?? homedir(),
        runHelper: (program, args, input) => run(program, args, { input, signal: world.signal }),
      }),
    observe: ({ about, method, up, down }) => {
      traffic.requests += 1;
      traffic.up += up;
      traffic.down += down;
      if (about === "blob" && method === "GET") traffic.layers += 1;
    },
  });
  const home = registry.repository(name.repository, access);
  const sibling = () => registry.repository(`${name.repository}${branchSuffix}`, access);
  const { scope } = scopeOf(world.env);
  const branches = scope === "branch" ? sibling() : null;
  const read = branches === null ? [home] : [home, branches];
  const find = async (planned: Plan, stage: PlannedStage): Promise<Pulled> => {
    let answer: Pulled = { state: "absent" };
    for (const from of read) {
      const pulled = await pullStage(from, state.layout, stage);
      if (pulled.state === "found") {
        await keepPulled(state, planned, stage, from, pulled.value, world);
        return pulled;
      }
      // What one repository could not say outweighs that another one has nothing.
      if (answer.state === "absent") answer = pulled;
    }
    return answer;
  };
  return {
    name: home.name,
    scope,
    home,
    read,
    write: scope === "fork" ? null : (branches ?? home),
    traffic,
    find,
    async fetch({ digest, ref, elsewhere }) {
      const missing = missingBlobs(state.layout, ref ?? digest) ?? [];
      if (missing.length === 0) return;
      if (elsewhere === null) throw notHere(digest);
      const total = missing.reduce((sum, { size }) => sum + size, 0);
      if (total > 1 << 20) world.stderr(`fetching ${bytes(total)} of ${elsewhere}\n`);
      const from = registry.repository(parseRepository(elsewhere).repository, access);
      await fetchBlobs(from, state.layout, missing);
    },
  };
};

const keepPulled = async (
  state: State,
  plan: Plan,
  stage: PlannedStage,
  from: Repository,
  { ref, image }: PulledStage,
  world: World,
): Promise<void> => {
  await nameInLayout(state.layout, stageTag(stage.stage, stage.key), ref, world.signal);
  keepStage(state, {
    key: stage.key,
    stage: stage.stage,
    image: plan.image,
    platform: plan.platform,
    digest: image.digest,
    ref: ref.digest,
    elsewhere: from.name,
    engine: `registry (${from.name})`,
    at: world.now(),
    seconds: 0,
  });
};
