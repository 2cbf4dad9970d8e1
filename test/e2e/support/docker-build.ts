import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { acquireEmbedded, type Lease } from "../../../ci/engines/embedded/lease.js";
import { run } from "../../../ci/host/process.js";
import { stateOf } from "../../../ci/state/state.js";
import { platform } from "./small.js";

type BuildRequest = {
  /** The project, with the Dockerfile that `factory render` wrote; it is the context unless another folder is named. */
  project: string;
  context?: string;
  /** Path of the Dockerfile in the project; builder/Dockerfile when absent. */
  file?: string;
  target?: string;
  buildArgs?: Readonly<Record<string, string>>;
  /** What `factory render --cache-args` printed for the builder, as words. */
  contexts?: readonly string[];
  /** Commands that run as root on top of the target; what they print is `printed`. */
  probe?: string;
};
type Built = { exitCode: number; output: string; printed: string };

/** A builder as someone uses it who has only the rendered file. */
export type DockerBuilder = { name: "docker" | "buildah"; build(request: BuildRequest): Promise<Built>; close(): Promise<void> };

const marks = { begin: "PROBE-BEGIN", end: "PROBE-END" };

/** The rendered file with a stage on top that runs the probe; beside it, because its ignore file goes by its name. */
const prepared = async ({ project, file = "builder/Dockerfile", target = "runtime", probe }: BuildRequest, id: number) => {
  if (probe === undefined) return { file, target };
  const text = await readFile(join(project, file), "utf8");
  const script = `echo ${marks.begin}\n${probe}\necho ${marks.end}`;
  const stage = `FROM ${target} AS probe\nUSER 0:0\nRUN ${JSON.stringify(["/bin/sh", "-u", "-c", script])}\n`;
  const probed = `${file}-probe-${id}`;
  await writeFile(join(project, probed), `${text}\n${stage}`);
  await writeFile(join(project, `${probed}.dockerignore`), await readFile(join(project, `${file}.dockerignore`)));
  return { file: probed, target: "probe" };
};

const builtFrom = (exitCode: number, output: string, lines: readonly string[]): Built => {
  const [begin, end] = [lines.lastIndexOf(marks.begin), lines.lastIndexOf(marks.end)];
  return { exitCode, output, printed: begin < 0 || end < begin ? "" : lines.slice(begin + 1, end).join("\n") };
};

const hostCa = "/etc/ssl/certs/ca-certificates.crt";
let count = 0;

/** BuildKit, which docker build is: the embedded one, with the arguments of buildx in the words of buildctl. */
export const openDocker = async (root: string, env: Readonly<Record<string, string | undefined>>): Promise<DockerBuilder> => {
  const whole = { ...process.env, ...env };
  const lease: Lease = await acquireEmbedded({ state: stateOf(root, whole), env: whole, report: () => undefined });
  return {
    name: "docker",
    close: () => lease.release(),
    async build(request) {
      const { file, target } = await prepared(request, (count += 1));
      const contexts = (request.contexts ?? []).flatMap((word, index) => {
        const [, name, layout, digest] = /^(.+?)=oci-layout:\/\/(.+)@(sha256:.+)$/.exec(word) ?? [];
        if (name === undefined) return [];
        return ["--oci-layout", `layout${index}=${layout}`, "--opt", `context:${name}=oci-layout://layout${index}@${digest}`];
      });
      const args = ["--addr", lease.address, "build", "--progress", "plain", "--frontend", "dockerfile.v0"].concat(
        ["--local", `context=${request.context ?? request.project}`, "--local", `dockerfile=${request.project}`],
        ["--opt", `filename=${file}`, "--opt", `target=${target}`, "--secret", `id=host-ca,src=${hostCa}`],
        Object.entries(request.buildArgs ?? {}).flatMap(([name, value]) => ["--opt", `build-arg:${name}=${value}`]),
        contexts,
      );
      const done = await run(lease.buildctl, args);
      const lines = done.stderr.split("\n").map((line) => line.replace(/^#\d+ [\d.]+ ?/, ""));
      return builtFrom(done.exitCode, done.stderr, lines);
    },
  };
};

/** buildah with a storage of its own; podman build is the same program. */
export const openBuildah = async (root: string): Promise<DockerBuilder & { storage: readonly string[] }> => {
  const storage = ["--root", join(root, "containers"), "--runroot", join(root, "containers-run"), "--storage-driver", "overlay"];
  // Its cache mounts stand below TMPDIR.
  const env = { TMPDIR: join(root, "buildah-tmp") };
  await mkdir(env.TMPDIR, { recursive: true });
  return {
    name: "buildah",
    storage,
    close: async () => {
      await run("buildah", [...storage, "rmi", "--all", "--force"], { env });
      await run("umount", [join(root, "containers/overlay")]);
    },
    async build(request) {
      const { file, target } = await prepared(request, (count += 1));
      const options = ["--isolation", "chroot", "--network", "host", "--format", "docker", "--layers", "--tls-verify=false"];
      const args = ["--platform", platform, "--target", target, "--secret", `id=host-ca,src=${hostCa}`].concat(
        Object.entries(request.buildArgs ?? {}).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]),
        (request.contexts ?? []).flatMap((word) => ["--build-context", word]),
      );
      const dockerfile = join(request.project, file);
      const files = ["--file", dockerfile, "--ignorefile", `${dockerfile}.dockerignore`, request.context ?? request.project];
      const done = await run("buildah", [...storage, "bud", ...options, ...args, ...files], { env });
      return builtFrom(done.exitCode, done.stdout + done.stderr, done.stdout.split("\n"));
    },
  };
};
