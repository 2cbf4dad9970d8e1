import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { acquireEmbedded, type Lease } from "../../../ci/engines/embedded/lease.js";
import { gatherSecrets, proxies } from "../../../ci/host/secrets.js";
import { run } from "../../../ci/host/process.js";
import { stateOf } from "../../../ci/state/state.js";
import { built, factory } from "../support/factory.js";
import { lacking } from "../support/needs.js";
import { openSmall, platform, type Small } from "../support/small.js";

/**
 * One image by three builders: what is assembled here, and what BuildKit and buildah make of the rendered Dockerfile, each of them
 * running every step itself. And one image by three unpackers. `compare` finds no difference.
 */
const absent = await lacking("mmdebstrap", "runc");

describe.skipIf(absent !== null)(`the small image${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  let small: Small;
  let digest = "";
  let lease: Lease;
  /** What two builders must not share: mutable references hold no upper-case letters, and names of folders do. */
  let plain = "";
  const setup = () => ({
    env: { ...process.env, ...small.env },
    report: () => undefined,
    state: stateOf(small.project, small.env),
  });
  const layout = () => join(small.env["FACTORY_STATE"]!, "layout");
  const succeed = async (program: string, words: readonly (readonly string[])[]) => {
    const args = words.flat();
    // A folder without files of its own: BuildKit's client reads a cgroup's name from the current one.
    const { exitCode, stdout, stderr } = await run(program, args, { cwd: homedir() });
    if (exitCode !== 0)
      throw new Error(`${program} ${args.slice(0, 4).join(" ")} … ended with ${exitCode}\n${stderr.slice(-4000)}`);
    return stdout;
  };
  const storage = () => [
    "--root",
    join(small.root, "storage"),
    "--runroot",
    join(small.root, "storage-run"),
    "--storage-driver",
    "vfs",
  ];

  beforeAll(async () => {
    small = await openSmall();
    // A checkout may have any bits beside those that count: of each mode a file, and a folder.
    for (let mode = 0; mode <= 0o7777; mode++) {
      const name = mode.toString(8).padStart(4, "0");
      await mkdir(join(small.project, "modes", `folder-${name}`), { recursive: true });
      await writeFile(join(small.project, "modes", `file-${name}`), "");
      for (const kind of ["folder", "file"]) await chmod(join(small.project, "modes", `${kind}-${name}`), mode);
    }
    await small.edit("images.yaml", (text) => text.replace("copy: [app,", "copy: [app, modes,"));
    plain = join(tmpdir(), `factory-parity-${process.pid}`);
    await rm(plain, { recursive: true, force: true });
    await mkdir(plain);
    digest = (await built(small.project, [], small.env)).record.digest;
    expect((await factory(small.project, ["render"], small.env)).code).toBe(0);
    lease = await acquireEmbedded(setup());
  });
  afterAll(async () => {
    await lease?.release();
    await small?.close();
    await rm(plain, { recursive: true, force: true });
  });

  /** `compare` of the assembled image with another, as it is typed. */
  const compared = async (other: string, ...words: string[]) => {
    const { code, stdout, stderr } = await factory(small.project, ["compare", "stage:small", other, ...words], small.env);
    return { code, said: stdout + stderr };
  };
  const equal = { code: 0, said: expect.stringMatching(/equal: \d{4,} paths/) as string };

  test("BuildKit, from the rendered Dockerfile", async () => {
    const secrets = gatherSecrets({}, process.env, "fork");
    await succeed(lease.buildctl, [
      ["--addr", lease.address, "build", "--frontend", "dockerfile.v0", "--progress", "plain"],
      ["--local", `context=${small.project}`, "--local", `dockerfile=${join(small.project, "builder")}`],
      ["--oci-layout", `base=${layout()}`, "--opt", `context:small-base=oci-layout://base@${await digestOf(small.base)}`],
      Object.entries(proxies(process.env)).flatMap(([name, value]) => ["--opt", `build-arg:${name}=${value}`]),
      secrets.list.flatMap((one) => ("file" in one ? ["--secret", `id=${one.id},src=${one.file}`] : [])),
      ["--output", `type=docker,name=small:portable,dest=${join(small.root, "buildkit.tar")}`],
    ]);
    expect(await compared(`docker:${join(small.root, "buildkit.tar")}`)).toEqual(equal);
  });

  const digestOf = async (name: string): Promise<string> => {
    const { manifests } = JSON.parse(await readFile(join(layout(), "index.json"), "utf8")) as {
      manifests: { digest: string; annotations?: Record<string, string> }[];
    };
    return manifests.find(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] === name)!.digest;
  };

  test("buildah, from the rendered Dockerfile", async ({ skip }) => {
    const lacks = await lacking("buildah");
    if (lacks !== null) skip(lacks);
    await symlink(layout(), join(plain, "layout"));
    const builder = join(small.project, "builder/Dockerfile");
    const secrets = gatherSecrets({}, process.env, "fork");
    await succeed("buildah", [
      storage(),
      ["bud", "--isolation", "chroot", "--network", "host", "--format", "docker", "--tag", "small:buildah"],
      ["--build-context", `small-base=docker-image://oci:${join(plain, "layout")}:${small.base}`],
      secrets.list.flatMap((one) => ("file" in one ? ["--secret", `id=${one.id},src=${one.file}`] : [])),
      ["--platform", platform, "--ignorefile", `${builder}.dockerignore`, "--file", builder, small.project],
    ]);
    const archive = join(small.root, "buildah.tar");
    await succeed("buildah", [storage(), ["push", "--quiet", "small:buildah", `docker-archive:${archive}:small:buildah`]]);
    expect(await compared(`docker:${archive}`)).toEqual(equal);
  });

  test("the assembled image, unpacked by BuildKit", async () => {
    const folder = await mkdtemp(join(small.root, "from-"));
    await writeFile(join(folder, "Dockerfile"), "FROM assembled\n");
    const tar = join(small.root, "buildkit-rootfs.tar");
    await succeed(lease.buildctl, [
      ["--addr", lease.address, "build", "--frontend", "dockerfile.v0", "--progress", "plain"],
      ["--local", `dockerfile=${folder}`],
      ["--oci-layout", `kept=${layout()}`, "--opt", `context:assembled=oci-layout://kept@${digest}`],
      ["--output", `type=tar,dest=${tar}`],
    ]);
    expect(await compared(`rootfs:${tar}`)).toEqual(equal);
  });

  test("the assembled image, unpacked by Podman", async ({ skip }) => {
    const lacks = await lacking("podman");
    if (lacks !== null) skip(lacks);
    expect((await factory(small.project, ["build", "--output", `docker:${join(small.root, "out.tar")}`], small.env)).code).toBe(
      0,
    );
    await succeed("podman", [storage(), ["load", "--quiet", "--input", join(small.root, "out.tar")]]);
    const id = (await succeed("podman", [storage(), ["create", "registry.example/team/small:dev"]])).trim();
    const tar = join(small.root, "podman-rootfs.tar");
    await succeed("podman", [storage(), ["export", "--output", tar, id]]);
    expect(await compared(`rootfs:${tar}`)).toEqual(equal);
  });

  test("what a step leaves that it should not is found: the comparison can fail", async () => {
    const { code, said } = await compared(`oci:${layout()}:${small.base}`);
    expect(code).toBe(2);
    expect(said).toContain("config.User: 1234:0 → absent");
    expect(said).toContain("/opt/small: only in A");
  });
});
