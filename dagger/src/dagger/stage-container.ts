/**
 * # dagger/src/dagger
 *
 * A plan as containers of a Dagger engine, for the module and for the command line. It runs the same commands as the rendered Dockerfile.
 */
import type { CacheSharingMode, Client, Container, Directory, File, Secret } from "@dagger.io/dagger";
import { configured } from "./container-config.js";
import { type Mounting, mountedExec, secretMounting } from "./mounted-exec.js";
import { oneLine, secretExports, secretTarget } from "../pipeline/render/instructions.js";
import { labelled, labelsOf } from "../pipeline/render/step-labels.js";
import { stageAnnotation } from "../pipeline/oci/manifest.js";
import type { Plan, PlannedStage } from "../pipeline/plan/types.js";
import { scriptOf } from "../pipeline/steps/script.js";
import { byName, hostCa, type Mount, outputFolder, quote, type Script } from "../pipeline/steps/shell.js";
import type { Owner, Step, StepOf } from "../pipeline/steps/step.js";

/**
 * The renderer plan → Dagger containers. The client arrives as an argument, and of the library only types are imported: the module has
 * `dag` of its generated sdk/, ci/engines/dagger/dagger-engine.ts a client of the npm package, and each starts without the other's code.
 */
export type Sources = {
  client: Client;
  /** The container of the stage below, or of the base. */
  below: Container;
  context: Context;
  /** By id: the host's CA bundle and what images.yaml declares. What is not given is not mounted, and no step fails for it. */
  secrets: ReadonlyMap<string, Secret>;
  /** Any text that no earlier run used makes every command run again; null leaves it to the engine's cache. */
  fresh: string | null;
  /** What the names of cache volumes begin with (cache-names.ts). */
  caches: string;
};

/**
 * The files of the context that the plan was made from, each root as something of its own: an engine tells a remembered command by what it
 * is given, and a folder inside a larger one changes with all of that.
 */
export type Context = { file(path: string): File; folder(path: string): Directory };

/** One command of a stage, which is one layer of it. */
export type Piece = {
  /** As events call it. */
  name: string;
  text: string;
  /** Right after the command, so that one can ask what it printed. */
  ran: Container;
  /** It runs beside the stage, which takes a file of it. */
  beside: boolean;
};

export type BuiltStage = { container: Container; pieces: readonly Piece[] };

/** One stage on the one below. Decides nothing: a step is a command or a change of the config, folded as in dockerfile.ts. Lazy: nothing runs here. */
export const stageContainers = (plan: Plan, planned: PlannedStage, sources: Sources): BuiltStage => {
  const steps = planned.ingredients.steps.map(({ step }) => step);
  const compiles = steps.filter((step) => step.do === "compile");
  // Programs are compiled beside the stage, on what its packages bring.
  const packages = compiles.length > 0 ? steps.filter(({ do: what }) => what === "install") : [];
  const render = new Renderer(plan, planned, sources);
  const below = sources.fresh === null ? sources.below : sources.below.withEnvVariable(freshVariable, sources.fresh);
  const prepared = render.steps(below, packages, new Map());
  const compiled = new Map(compiles.map((step) => [step.name, render.compiled(prepared, step)]));
  const done = render.steps(
    prepared,
    steps.filter((step) => !packages.includes(step)),
    compiled,
  );
  const clean = sources.fresh === null ? done : done.withoutEnvVariable(freshVariable);
  return { container: clean.withAnnotation(stageAnnotation(planned.stage), planned.key), pieces: render.pieces };
};

/** Stands in the environment only while the stage's commands run. */
const freshVariable = "IMAGE_FACTORY_FRESH";

class Renderer {
  readonly pieces: Piece[] = [];
  readonly #plan: Plan;
  readonly #planned: PlannedStage;
  readonly #sources: Sources;

  constructor(plan: Plan, planned: PlannedStage, sources: Sources) {
    this.#plan = plan;
    this.#planned = planned;
    this.#sources = sources;
  }

  steps(on: Container, wanted: readonly Step[], compiled: ReadonlyMap<string, File>): Container {
    let at = on;
    let small: Script[] = [];
    // Neighbours that only place small things share one command, and so one layer.
    const flush = () => {
      if (small.length > 0) at = this.#run(at, merged(small), "");
      small = [];
    };
    for (const step of wanted) {
      switch (step.do) {
        case "user":
        case "directory":
        case "file":
          small.push(this.#script(step));
          break;
        case "install":
        case "tool":
        case "python":
          flush();
          at = this.#run(at, this.#script(step), "");
          break;
        case "run":
          flush();
          at = this.#run(at, this.#script(step), `-c ${step.command}`);
          break;
        case "compile":
          flush();
          at = this.#place(at, step, compiled.get(step.name)!);
          break;
        case "copy":
          flush();
          at = this.#copy(at, step);
          break;
        case "config":
          // A Dockerfile's WORKDIR makes the folder, withWorkdir does not.
          if (step.change.workdir !== null) small.push(folder(step.change.workdir));
          flush();
          at = configured(at, step.change);
          break;
        default:
          at = never(step);
      }
    }
    flush();
    return at;
  }

  /** A program, compiled in a container that nothing else comes from. */
  compiled(on: Container, step: StepOf<"compile">): File {
    const done = this.#run(on, this.#script(step), `compile-${step.name}: RUN`, [], true);
    return done.file(`${outputFolder}/${step.name}`);
  }

  #place(on: Container, step: StepOf<"compile">, program: File): Container {
    const target = `/run/compiled/${step.name}`;
    const script = { statements: [`install -D -m 755 ${quote(target)} ${quote(step.to)}`], mounts: [] };
    const mounting = { target, attach: (to: Container) => to.withMountedFile(target, program) };
    return this.#run(on, script, `COPY --from=compile-${step.name} `, [mounting]);
  }

  /**
   * Files go in by tar, which leaves directories that are there as they are, and links to directories too. withDirectory on "/" would
   * give /tmp and /root mode and owner of the copied tree, and a copy below "/" leaves the time of day on the parents.
   */
  #copy(on: Container, step: StepOf<"copy">): Container {
    const { client, context } = this.#sources;
    const tree = step.items.reduce(
      (all, { from, to }) =>
        this.#isFile(from) ? all.withFile(to, context.file(from)) : all.withDirectory(to, context.folder(from)),
      client.directory(),
    );
    const target = "/run/files";
    const mounting = { target, attach: (to: Container) => to.withMountedDirectory(target, tree, { readOnly: true }) };
    return this.#run(on, unpackTree(target, step.owner, this.#plan.epoch), `COPY --from=${this.#planned.stage}-files-`, [
      mounting,
    ]);
  }

  #run(on: Container, script: Script, name: string, extra: readonly Mounting[] = [], beside = false): Container {
    const { epoch, secrets } = this.#plan;
    const mountings = [...script.mounts.flatMap((mount) => this.#mountings(mount)), ...extra];
    const exports = script.mounts.some(({ mount }) => mount === "network") ? secretExports(secrets) : [];
    const statements = script.statements.map(oneLine);
    const { text, ran, targets } = mountedExec(on, [...exports, ...statements], mountings, epoch);
    const shown = [name, ...targets.map((target) => `target=${target} `), ...statements].join(" ");
    this.pieces.push({ name: labelled(shown, labelsOf(this.#planned)), text, ran, beside });
    return targets.reduce((from, target) => from.withoutMount(target), ran);
  }

  #mountings(mount: Mount): Mounting[] {
    const { client, context, secrets, caches } = this.#sources;
    switch (mount.mount) {
      case "cache": {
        const { target } = mount;
        const sharing = { sharing: "LOCKED" as CacheSharingMode };
        const volume = client.cacheVolume(`${caches}-${mount.id}`);
        return [{ target, attach: (to) => to.withMountedCache(target, volume, sharing) }];
      }
      case "download": {
        const { target } = mount;
        const { url, sha256 } = mount.file;
        const file = client.http(url, { name: mount.name, checksum: `sha256:${sha256}` });
        return [{ target, attach: (to) => to.withMountedFile(target, file) }];
      }
      case "context": {
        const { source, target } = mount;
        return this.#isFile(source)
          ? [{ target, attach: (to) => to.withMountedFile(target, context.file(source)) }]
          : [{ target, attach: (to) => to.withMountedDirectory(target, context.folder(source), { readOnly: true }) }];
      }
      case "network":
        return [
          ...secretMounting(secrets, hostCa.id, hostCa.target),
          ...byName(this.#plan.secrets).flatMap(([id, { as }]) => secretMounting(secrets, id, secretTarget(id, as))),
        ];
    }
  }

  #script(step: Step): Script {
    return scriptOf(step, this.#plan.epoch)!;
  }

  /** Whether a path of the context is a file; a folder need not be an entry of its own. */
  #isFile(path: string): boolean {
    return this.#planned.ingredients.steps.some(({ step }) => {
      if (step.do === "file") return "from" in step.source && step.source.from === path;
      return "entries" in step && step.entries.some((entry) => entry.path === path && entry.kind !== "directory");
    });
  }
}

const merged = (scripts: readonly Script[]): Script => {
  // Two files may come from one.
  const mounts = new Map(scripts.flatMap((script) => script.mounts).map((mount) => [JSON.stringify(mount), mount]));
  return { statements: scripts.flatMap(({ statements }) => statements), mounts: [...mounts.values()] };
};

const folder = (path: string): Script => ({ statements: [`mkdir -p ${quote(path)}`], mounts: [] });

/** Files 644 or 755 and directories 755, all of the owner, also the directories above them that are not there yet. */
const unpackTree = (from: string, owner: Owner, epoch: number): Script => {
  const [uid, gid] = owner.split(":");
  const pack = `tar --create --directory=${from} --sort=name --hard-dereference --mtime=@${epoch} --numeric-owner --owner=${uid} --group=${gid} --mode=u=rwX,go=rX .`;
  const unpack =
    "tar --extract --directory=/ --numeric-owner --same-owner --same-permissions --no-overwrite-dir --keep-directory-symlink";
  return { statements: [`${pack} | ${unpack}`], mounts: [] };
};

const never = (step: never): never => {
  throw new Error(`no container for ${JSON.stringify(step)}`);
};
