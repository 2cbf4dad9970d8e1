/**
 * # dagger/src/pipeline/image-test
 *
 * The checks that a plan implies for its image, and what their results mean. Every check is derived from a step: nobody writes a list.
 */
import type { Expectation, ImageCheck, Needs, Probe, Runner } from "./image-check.js";
import {
  buildahScript,
  distributionsScript,
  importsScript,
  podmanScript,
  skopeoScript,
  wheelScript,
  writeScript,
} from "./check-scripts.js";
import type { ImageConfig } from "../oci/image-config.js";
import type { Plan } from "../plan/types.js";
import { type Architecture, architectureOf } from "../common/stage.js";
import type { Step, StepOf } from "../steps/step.js";

/**
 * What the image of a plan must hold, as checks: pure, so that the same plan asks the same of every image. What the plan does not speak
 * of is not asked for.
 * @param config of the image that is tested: what a runtime would start
 */
export const imageChecks = (plan: Plan, config: ImageConfig): ImageCheck[] => {
  const steps = plan.stages.flatMap(({ ingredients }) => ingredients.steps.map(({ step }) => step));
  const of = <D extends Step["do"]>(what: D) => steps.filter((step): step is StepOf<D> => step.do === what);
  const python = of("python")[0];
  return [
    ...identity(of("user").at(-1), config),
    ...start(config),
    ...[...of("tool"), ...of("compile")].flatMap(tool),
    ...packages(plan, of("install")),
    binaries(architectureOf(plan.platform), config, python),
    ...(python === undefined ? [] : [...requirements(python, of("file")), ...projects(python, of("file"))]),
    ...healthcheck(of("config"), config),
    ...writable(of("user").at(-1), of("directory")),
    ...nested(of("install")),
  ];
};

const command = (
  name: string,
  about: string,
  attempts: readonly (readonly string[])[],
  expect: Expectation = { expect: "success", tell: true },
  as: Runner = "user",
  needs: Needs = "nothing",
): ImageCheck => ({ name, about, probe: { probe: "command", as, needs, attempts, expect } });

const identity = (user: StepOf<"user"> | undefined, config: ImageConfig): ImageCheck[] => {
  if (user === undefined) return [];
  const { uid, gid, home } = user.account;
  const lines = [`${uid}:${gid}`, variable(config, "HOME") ?? home, config.config?.WorkingDir || "/"];
  const script = 'echo "$(id -u):$(id -g)"; echo "$HOME"; pwd';
  return [command("user", `runs as ${lines.join(", ")}`, [["/bin/sh", "-c", script]], { expect: "lines", lines })];
};

const variable = (config: ImageConfig, name: string): string | undefined =>
  config.config?.Env?.findLast((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);

const start = ({ config }: ImageConfig): ImageCheck[] => {
  const program = config?.Entrypoint?.[0] ?? config?.Cmd?.[0];
  if (program === undefined) return [];
  return [command("start", `what it starts is there: ${program}`, [["/bin/sh", "-c", 'command -v "$1"', "sh", program]])];
};

/** How tools are asked for their version; there is no one way. */
const questions = [["--version"], ["version", "--client"], ["version"], ["-v"]];

const tool = (step: StepOf<"tool"> | StepOf<"compile">): ImageCheck[] => {
  const names =
    step.do === "tool" && step.unpack.as === "package"
      ? Object.keys(step.unpack.links)
      : [
          (step.do === "tool" && step.unpack.as !== "package" ? step.unpack.to : step.do === "compile" ? step.to : step.name)
            .split("/")
            .at(-1)!,
        ];
  return names.map((name) =>
    command(
      `tool ${name}`,
      `answers ${step.version}`,
      questions.map((words) => [name, ...words]),
      { expect: "version", version: step.version },
    ),
  );
};

const listings = {
  apt: ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}${Package}=${Version}\\n"],
  dnf: ["rpm", "--query", "--all", "--queryformat", "ii %{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\\n"],
} as const;

/** Of packages without a lock only that they are there. */
const packages = ({ base }: Plan, steps: readonly StepOf<"install">[]): ImageCheck[] => {
  const manager = steps[0]?.manager ?? (base.kind === "bootstrap" ? "apt" : null);
  if (manager === null) return [];
  // A later stage may move what an earlier one installed.
  const pins = new Map<string, string>();
  const floating: string[] = [];
  const add = (locked: readonly string[] | null, names: readonly string[]) => {
    for (const pin of locked ?? []) pins.set(manager === "apt" ? pin.split("=")[0]! : pin.replace(/-\d+:.*$/, ""), pin);
    if (locked === null) floating.push(...names);
  };
  if (base.kind === "bootstrap") add(base.packages, base.include);
  for (const { pins: locked, names } of steps) add(locked, names);
  const locked = [...pins.values(), ...floating.filter((name) => !pins.has(name))];
  return [
    command("packages", `${locked.length} ${manager} packages as locked`, [listings[manager]], { expect: "packages", locked }),
  ];
};

const binaries = (architecture: Architecture, config: ImageConfig, python: StepOf<"python"> | undefined): ImageCheck => {
  const path = (variable(config, "PATH") ?? "").split(":").filter((folder) => folder.startsWith("/"));
  const folders = [...new Set([...path, "/usr/local", ...(python === undefined ? [] : [python.venv])])].sort();
  const machine = architecture === "amd64" ? "x86-64" : "aarch64";
  return { name: "binaries", about: `are for ${architecture}`, probe: { probe: "binaries", folders, machine } satisfies Probe };
};

/** The name that an index of packages knows (PEP 503). */
const normal = (name: string): string => name.toLowerCase().replaceAll(/[-_.]+/g, "-");

const requirements = ({ venv, requires, pins }: StepOf<"python">, files: readonly StepOf<"file">[]): ImageCheck[] => {
  const python = `${venv}/bin/python`;
  const locked = Object.fromEntries((pins ?? []).map(({ pin }) => [normal(pin.split("==")[0]!), pin.split("==")[1]!]));
  const projects = installed(files, /\.dist-info\/METADATA$/).map((text) => normal(/^Name: (.*)$/m.exec(text)?.[1] ?? ""));
  const roots = installed(files, /\.pth$/).flatMap((text) => text.trim().split("\n"));
  const names = pins === null ? requires.map((text) => normal(/^[A-Za-z0-9._-]+/.exec(text)?.[0] ?? text)) : Object.keys(locked);
  const others = pins === null ? ["*"] : projects;
  return [
    command(
      "python packages",
      `${names.length} Python packages${pins === null ? "" : " as locked"}`,
      [[python, "-c", distributionsScript]],
      {
        expect: "distributions",
        locked: pins === null ? Object.fromEntries(names.map((name) => [name, "*"])) : locked,
        others,
      },
    ),
    command("python imports", "every Python package is imported", [[python, "-c", importsScript, ...names, "--", ...roots]]),
  ];
};

/** Texts of what installing the projects left, by their path. */
const installed = (files: readonly StepOf<"file">[], path: RegExp): string[] =>
  files.flatMap(({ path: at, source }) =>
    "text" in source && source.project !== undefined && path.test(at) ? [source.text] : [],
  );

const projects = ({ venv, version }: StepOf<"python">, files: readonly StepOf<"file">[]): ImageCheck[] => {
  const commands = files.filter(({ path, source }) => "project" in source && path.startsWith(`${venv}/bin/`));
  const folders = installed(files, /\.dist-info\/direct_url\.json$/).map(
    (text) => new URL((JSON.parse(text) as { url: string }).url).pathname,
  );
  return [
    ...commands.map(({ path }) => {
      const name = path.slice(`${venv}/bin/`.length);
      return command(`command ${name}`, "answers --help", [[name, "--help"]], { expect: "success", tell: false });
    }),
    ...folders
      .map(decodeURIComponent)
      .map((folder) =>
        command(`wheel ${folder}`, "a wheel can be built from its files", [[`python${version}`, "-c", wheelScript, folder]]),
      ),
  ];
};

const healthcheck = (configs: readonly StepOf<"config">[], { config }: ImageConfig): ImageCheck[] => {
  const planned = configs.some(({ change }) => change.healthcheck !== null);
  const [kind, ...words] = ((config?.["Healthcheck"] ?? {}) as { Test?: string[] }).Test ?? [];
  const about = "the healthcheck passes";
  if (kind === "CMD") return [command("healthcheck", about, [words])];
  if (kind === "CMD-SHELL") return [command("healthcheck", about, [["/bin/sh", "-c", words.join(" ")]])];
  if (!planned) return [];
  const verdict = { verdict: "fail", words: "the plan has one, and the image's config has none" } as const;
  return [{ name: "healthcheck", about, probe: { probe: "settled", verdict } }];
};

/** A home, and what group 0 may write: an arbitrary UID of that group must be able to. */
const writable = (user: StepOf<"user"> | undefined, directories: readonly StepOf<"directory">[]): ImageCheck[] => {
  const shared = directories.filter(({ owner, mode }) => owner.endsWith(":0") && (Number.parseInt(mode, 8) & 0o020) !== 0);
  const home = user?.account.gid === 0 ? [user.account.home] : [];
  return [...home, ...shared.map(({ path }) => path)].map((path) =>
    command(
      `any uid ${path}`,
      "a UID that no file knows, of group 0, can write there",
      [["/bin/sh", "-c", writeScript, "sh", path]],
      { expect: "success", tell: true },
      "stranger",
    ),
  );
};

/** Container tools do a job of their own, where the image has them. */
const nested = (steps: readonly StepOf<"install">[]): ImageCheck[] => {
  const names = new Set(steps.flatMap((step) => step.names));
  const jobs = [
    ["buildah", "builds an image of one layer", buildahScript],
    ["skopeo", "copies an image", skopeoScript],
    ["podman", "runs a container", podmanScript],
  ] as const;
  return jobs
    .filter(([name]) => names.has(name))
    .map(([name, about, script]) =>
      command(`nested ${name}`, about, [["/bin/sh", "-c", script]], { expect: "success", tell: true }, "user", "nesting"),
    );
};
