import { expect, test } from "vitest";
import { known } from "../../../dagger/src/registry/reference/lookup.js";
import { clientOf, errorOf } from "../support/client.js";
import { startFaultyProxy } from "../support/faulty-proxy.js";
import { openPublished } from "../support/published.js";
import { startRegistry, whyNoRegistry } from "../support/registry.js";

const why = await whyNoRegistry();

test("render --cache-args --from registry: what is there, what is damaged, and what stands for a base that no registry has", async (ctx) => {
  if (why !== null) return ctx.skip(why);
  const registry = await startRegistry();
  const front = await startFaultyProxy(registry.host);
  const project = await openPublished(front.host);
  try {
    const repository = clientOf(registry.host).repository("acme/box");
    const args = (...words: string[]) =>
      project.factory("render", ["--cache-args", "--from", "registry", "--platform", "amd64", ...words]);
    expect(await errorOf(args())).toMatchObject({ code: "INPUT_MISSING", explanation: { fix: "./task publish IMAGE=box" } });
    const { refs, plans } = await project.publish(repository);
    const amd64 = plans[0]!.stages.slice(0, 2).map(({ stage, key }) => `cache-${stage}-${key}`);
    const imageOf = async (tag: string) => {
      const { bytes } = known(await repository.manifest(tag))!;
      return (JSON.parse(bytes.toString()) as { manifests: { digest: string }[] }).manifests[0]!.digest;
    };
    const [baseTools, dependencies] = await Promise.all(amd64.map(imageOf));
    const source = (digest: string | undefined) => `docker-image://${front.host}/acme/box@${digest}`;
    const lines = [`--build-context base-tools=${source(baseTools)}`, `--build-context dependencies=${source(dependencies)}`];
    expect((await args()).stdout).toBe(`${lines.join(" \\\n  ")}\n`);
    // No layer is downloaded to print them.
    expect(front.log.filter(({ method, path, down }) => method === "GET" && path.includes("/blobs/") && down > 5000)).toEqual([]);

    // A ref that holds something else is left out, and told.
    const other = known(await repository.manifest(refs.find((ref) => ref.startsWith("cache-base-tools") && ref !== amd64[0])!))!;
    await repository.putManifest(amd64[0]!, other.mediaType, other.bytes);
    const left = await args();
    expect(left.stdout).toBe(`${lines[1]}\n`);
    expect(left.stderr).toMatch(/^note: base-tools is left out: cache-base-tools-/);

    front.on({ method: "GET", path: /manifests/, times: 100, fault: { do: "answer", status: 403 } });
    expect(await errorOf(args())).toMatchObject({ code: "REGISTRY_UNREACHABLE" });
    front.clear();

    await project.commit({ "images.yaml": bootstrapped(front.host) });
    await project.publish(repository);
    const { stdout } = await args();
    const [base, first] = stdout.split(" \\\n  ");
    expect(base).toBe(first!.replace("base-tools=", "box-base="));
  } finally {
    await project.close();
    await front.stop();
    await registry.stop();
  }
});

const bootstrapped = (registry: string) => `registry: ${registry}/acme
images:
  box:
    repository: box
    platforms: [linux/amd64, linux/arm64]
    base: { bootstrap: debian, suite: bookworm, packages: apt }
    stages:
      base-tools: { run: [{ command: sh base.sh, inputs: [base.sh] }] }
      dependencies: { run: [{ command: sh deps.sh, inputs: [deps.sh] }] }
      application: { to: /opt/box, copy: [app] }
      runtime: { cmd: [sh] }
`;
