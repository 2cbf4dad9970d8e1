/**
 * # dagger/src/pipeline/render
 *
 * A plan as a Dockerfile, and as the script of a Dagger step. What is rendered builds what the plan says: image and key do not depend on who
 * runs it.
 */
import { configInstructions, dockerWord, runInstruction, type Secrets, type Variants } from "./instructions.js";
import { sharedCaches } from "../steps/cache-names.js";
import type { Plan, PlannedStage } from "../plan/types.js";
import { buildArgOf } from "../plan/plan.js";
import { scriptOf } from "../steps/script.js";
import { type Script } from "../steps/shell.js";
import { architectureOf, parentOf, type StageName } from "../common/stage.js";
import type { Download, Step, StepOf } from "../steps/step.js";

/**
 * portable: one committed file for every platform and every locked version, for docker build, buildah and podman:
 * no heredoc, no --link, no checksum option. buildkit: one stage on one platform, resolved, as the engine executes it.
 */
type Dialect = "portable" | "buildkit";

/** The name under which a bootstrapped base is handed to a builder (`--build-context <name>=…`). */
export const baseContextOf = (plan: Pick<Plan, "image">): string => `${plan.image}-base`;

/** Where the file stands and which folder it is built from, as a person types them. */
type RenderPlace = { file: string; context: string };

/**
 * Plans of one image → Dockerfile text. Decides nothing: a stage of the plan is a stage of the file, a step is an
 * instruction, and where platforms differ the instruction is a `case` over both.
 */
export const renderDockerfile = (
  plans: readonly Plan[],
  place: RenderPlace = { file: "builder/Dockerfile", context: "." },
): string => {
  const [plan] = plans;
  if (plan === undefined) return "";
  const render = new Renderer(plans, "portable", sharedCaches);
  return text([header(plan, place), render.base(plan), ...plan.stages.flatMap(({ stage }) => render.stage(stage))]);
};

/** One stage as the engine executes it: the stage below is an image that the engine is given by that stage's name. */
export const renderStage = (plan: Plan, stage: StageName, caches = sharedCaches): string => {
  const render = new Renderer([plan], "buildkit", caches);
  return text([...(parentOf(stage) === null ? [render.base(plan)] : []), ...render.stage(stage)]);
};

const text = (blocks: readonly string[]): string => `${blocks.join("\n\n")}\n`;

const header = (plan: Plan, { file, context: folder }: RenderPlace): string => {
  const context =
    plan.base.kind === "bootstrap"
      ? [
          `# The base is the named context ${baseContextOf(plan)}: after a build, ./task render IMAGE=${plan.image} -- --cache-args names it.`,
        ]
      : [];
  return [
    `# ${plan.image}: rendered by \`./task render\` from images.yaml and images.lock; a change here is lost.`,
    `# docker build -t ${plan.image}:dev -f ${file} ${folder}   (buildah and podman, too: with --platform linux/${architectureOf(plan.platform)})`,
    ...context,
    "ARG TARGETARCH",
  ].join("\n");
};

class Renderer {
  readonly #plans: readonly Plan[];
  readonly #dialect: Dialect;
  readonly #secrets: Secrets;
  readonly #caches: string;

  constructor(plans: readonly Plan[], dialect: Dialect, caches: string) {
    this.#caches = caches;
    this.#plans = plans;
    this.#dialect = dialect;
    this.#secrets = plans[0]!.secrets;
  }

  base({ base, image }: Plan): string {
    return base.kind === "image" ? `FROM ${base.reference}@${base.digest} AS base` : `FROM ${baseContextOf({ image })} AS base`;
  }

  stage(name: StageName): string[] {
    const perPlan = this.#plans.map((plan) => plan.stages.find(({ stage }) => stage === name)!);
    const steps = stepsOf(perPlan[0]!);
    const parent = parentOf(name) ?? "base";
    const compiles = steps.filter((step) => step.do === "compile");
    const packages = compiles.length > 0 ? steps.filter(({ do: what }) => what === "install") : [];
    const own = steps.filter((step) => !packages.includes(step));
    const lines = (wanted: readonly Step[]) => this.#instructions(name, perPlan, wanted);
    return [
      ...steps.flatMap((step) => this.#downloads(step, parent, perPlan)),
      ...steps.flatMap((step, index) => (step.do === "copy" ? [this.#files(step, parent, `${name}-files-${index}`)] : [])),
      ...(packages.length > 0 ? [[`FROM ${parent} AS ${name}-packages`, ...lines(packages)].join("\n")] : []),
      ...compiles.map((step) =>
        [
          `FROM ${packages.length > 0 ? `${name}-packages` : parent} AS compile-${step.name}`,
          ...this.#arguments([step]),
          this.#run(perPlan, [step]),
        ].join("\n"),
      ),
      [`FROM ${packages.length > 0 ? `${name}-packages` : parent} AS ${name}`, ...lines(own)].join("\n"),
    ];
  }

  /** Instructions of a stage's own steps; neighbours that only place small things share one RUN, and so one layer. */
  #instructions(name: StageName, perPlan: readonly PlannedStage[], wanted: readonly Step[]): string[] {
    const all = stepsOf(perPlan[0]!);
    const lines = this.#arguments(wanted);
    let small: Step[] = [];
    const flush = () => {
      if (small.length > 0) lines.push(this.#run(perPlan, small));
      small = [];
    };
    for (const step of wanted) {
      if (step.do === "user" || step.do === "directory" || step.do === "file") {
        small.push(step);
        continue;
      }
      flush();
      if (step.do === "config") lines.push(...configInstructions(step.change));
      else if (step.do === "compile") lines.push(`COPY --from=compile-${step.name} /output/${step.name} ${step.to}`);
      else if (step.do === "copy") lines.push(copyFrom(step, `${name}-files-${all.indexOf(step)}`));
      else {
        // Right before its command: an argument declared earlier would make a new version repeat what stands between.
        if (step.do === "tool" && this.#dialect === "portable") lines.push(`ARG ${buildArgOf(step.name)}=${step.version}`);
        lines.push(this.#run(perPlan, [step]));
      }
    }
    flush();
    return lines;
  }

  /** The arguments that a stage's commands tell variants apart by. */
  #arguments(steps: readonly Step[]): string[] {
    if (this.#dialect === "buildkit") return [];
    return steps.some((step) => step.do === "tool" || step.do === "install" || step.do === "python" || step.do === "compile")
      ? ["ARG TARGETARCH"]
      : [];
  }

  #run(perPlan: readonly PlannedStage[], steps: readonly Step[]): string {
    const epoch = perPlan[0]!.ingredients.epoch;
    const indexes = steps.map((step) => stepsOf(perPlan[0]!).indexOf(step));
    const tool = steps.find((step) => step.do === "tool");
    const scripts = this.#plans.flatMap((plan, at) => {
      const chosen = indexes.map((index) => stepsOf(perPlan[at]!)[index]!);
      const architecture = architectureOf(plan.platform);
      if (this.#dialect === "buildkit" || tool === undefined) return [{ label: architecture, script: merged(chosen, epoch) }];
      return this.#versions(plan, tool.name, chosen[0]!).map((step) => ({
        label: `${step.version}/${architecture}`,
        script: merged([step], epoch),
      }));
    });
    const variants: Variants =
      tool === undefined
        ? { over: { word: '"$TARGETARCH"', refuse: '"no such platform: $TARGETARCH"' }, scripts }
        : { over: { word: `"$${buildArgOf(tool.name)}/$TARGETARCH"`, refuse: refusal(tool.name) }, scripts };
    return runInstruction(variants, this.#secrets, this.#caches);
  }

  /** The chosen version of a tool, and the other locked ones that the same URL pattern serves. */
  #versions(plan: Plan, name: string, chosen: Step): StepOf<"tool">[] {
    const first = chosen as StepOf<"tool">;
    return [first, ...othersOf(plan, name).filter((other) => isServed(first, other))];
  }

  #downloads(step: Step, parent: string, perPlan: readonly PlannedStage[]): string[] {
    const wanted = downloadOf(step);
    if (wanted === null) return [];
    if (this.#dialect === "buildkit")
      return [`FROM scratch AS download-${wanted.name}\nADD --checksum=sha256:${wanted.file.sha256} ${wanted.file.url} /file`];
    const index = stepsOf(perPlan[0]!).indexOf(step);
    const arches = this.#plans.map((plan, at) => {
      const own = stepsOf(perPlan[at]!)[index]!;
      const file = downloadOf(own)!.file;
      const from = `${wanted.name}-${architectureOf(plan.platform)}`;
      if (own.do !== "tool") return `FROM scratch AS download-${from}\nADD ${file.url} /file`;
      const argument = buildArgOf(own.name);
      const locked = this.#versions(plan, own.name, own).map(({ version }) => version);
      const unserved = othersOf(plan, own.name).filter((other) => !isServed(own, other));
      const arms = [
        `${locked.join("|")}) ;;`,
        ...unserved.map(({ version }) => `${version}) echo ${elsewhere(argument, version)} >&2; exit 67 ;;`),
        `*) echo ${refusal(own.name)} >&2; exit 67 ;;`,
      ];
      return [
        `FROM ${parent} AS download-${from}`,
        `ARG ${argument}=${own.version}`,
        `RUN case "$${argument}" in ${arms.join(" \\\n    ")} esac`,
        `ADD ${locked.length > 1 ? file.url.replaceAll(own.version, `\${${argument}}`) : file.url} /file`,
      ].join("\n");
    });
    // A file that is the same everywhere needs no choice.
    const [first] = new Set(arches.map((text) => text.replace(/ AS \S+/, ` AS download-${wanted.name}`)));
    const files = new Set(perPlan.map((stage) => downloadOf(stepsOf(stage)[index]!)!.file.url));
    return files.size === 1 ? [first!] : [...arches, `FROM download-${wanted.name}-\${TARGETARCH} AS download-${wanted.name}`];
  }

  /** The files of a copy step, brought into one tree first: one layer, and modes that do not depend on the host's umask. */
  #files(step: StepOf<"copy">, parent: string, name: string): string {
    const copies = step.items.map(({ from, to }) => `COPY ${words(from, `/files${to}`)}`);
    return this.#dialect === "buildkit"
      ? [`FROM scratch AS ${name}`, ...copies].join("\n")
      : [`FROM ${parent} AS ${name}`, ...copies, `RUN chmod -R ${plainModes} /files`].join("\n");
  }
}

/**
 * 755 for directories and for what its owner may execute, 644 for the rest, whatever bits a checkout has beside these. `X` looks at the
 * bits of all three: those of group and others are taken away before.
 */
const plainModes = "a-st,go=,u+rwX,go=u,go-w";

/** The other locked versions of a tool that comes as a file. */
const othersOf = (plan: Plan, tool: string): StepOf<"tool">[] =>
  (plan.alternatives[tool] ?? [])
    .filter((step): step is StepOf<"tool"> => step.do === "tool")
    .sort((a, b) => (a.version < b.version ? -1 : 1));

/** Whether one URL serves two versions when the version in it is an argument; the files of a wheel's versions have URLs of their own. */
const isServed = (chosen: StepOf<"tool">, other: StepOf<"tool">): boolean =>
  chosen.file.url.replaceAll(chosen.version, other.version) === other.file.url;

const elsewhere = (argument: string, version: string): string =>
  `"${argument}=${version} is locked, but with a URL of its own, which this file does not hold; type: ./task build BUILD_ARGS=${argument}=${version}"`;

const refusal = (tool: string): string =>
  `"${buildArgOf(tool)}=$${buildArgOf(tool)} has no locked checksum; add it: ./task lock TOOL=${tool} VERSION=$${buildArgOf(tool)}"`;

const stepsOf = (stage: PlannedStage): Step[] => stage.ingredients.steps.map(({ step }) => step);

const downloadOf = (step: Step): { name: string; file: Download } | null => {
  if (step.do === "tool") return { name: step.name, file: step.file };
  return step.do === "compile" ? { name: `${step.name}-toolchain`, file: step.toolchain } : null;
};

const words = (...paths: readonly string[]): string => JSON.stringify(paths.map(dockerWord));

const copyFrom = (step: StepOf<"copy">, from: string): string => {
  const chown = step.owner === "0:0" ? "" : `--chown=${step.owner} `;
  const single =
    step.items.length === 1 &&
    step.items[0]!.to === step.to &&
    step.entries.every(({ path, kind }) => path !== step.items[0]!.from || kind === "file");
  const isFolder = !single || step.entries.some(({ path }) => path.startsWith(`${step.items[0]!.from}/`));
  const slash = isFolder ? "/" : "";
  return `COPY --from=${from} ${chown}${words(`/files${step.to}${slash}`, `${step.to}${slash}`)}`;
};

const merged = (steps: readonly Step[], epoch: number): Script => {
  const scripts = steps.map((step) => scriptOf(step, epoch)).filter((script): script is Script => script !== null);
  // Two files may come from one: a builder takes each target once.
  const mounts = new Map(scripts.flatMap((script) => script.mounts).map((mount) => [JSON.stringify(mount), mount]));
  return { statements: scripts.flatMap(({ statements }) => statements), mounts: [...mounts.values()] };
};
