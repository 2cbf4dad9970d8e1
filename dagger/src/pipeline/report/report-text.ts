import type { ImageReport, StageShare } from "./image-report.js";
import { bytes, plural, table } from "../common/format.js";

/**
 * A report as a person reads it.
 * @param more what to type for all packages, where there is something
 */
export const imageReportText = (report: ImageReport, more: string | null): string => {
  const { image, platform, stages, total, folders, files, copies, packages } = report;
  return [
    `${image} for ${platform}`,
    table([
      ["stage", "layers", "packed", "unpacked", "files"],
      ...stages.map(({ stage, ...share }) => [stage, ...cells(share)]),
      ["total", ...cells(total)],
    ]),
    "",
    "largest folders",
    table(folders.map(({ path, files, unpacked }) => [bytes(unpacked), path, plural(files, "file")])),
    "",
    "largest files",
    table(files.map(({ path, unpacked, stage }) => [bytes(unpacked), path, stage])),
    ...(copies.length === 0
      ? []
      : ["", "held more than once", table(copies.map(({ paths, unpacked }) => [bytes(unpacked), named(paths)]))]),
    "",
    packagesText(packages, more),
    "",
  ].join("\n");
};

const cells = ({ layers, packed, unpacked, files }: Omit<StageShare, "stage">): string[] => [
  layers === null ? "–" : String(layers),
  packed === null ? "–" : bytes(packed),
  bytes(unpacked),
  String(files),
];

const named = ([first, second, ...rest]: readonly string[]): string =>
  `${first}, ${second}${rest.length === 0 ? "" : ` and ${rest.length} more`}`;

const packagesText = (packages: ImageReport["packages"], more: string | null): string => {
  switch (packages.manager) {
    case "dpkg":
      return `${plural(packages.installed.length, "package")} of dpkg${more === null ? "" : `; all of them: ${more}`}`;
    case "rpm":
      return `packages of rpm in ${packages.database}, which is not read`;
    case "none":
      return "no package manager";
  }
};
