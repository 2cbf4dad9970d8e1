import type { Architecture } from "../../../dagger/src/pipeline/common/stage.js";

/** What a wheel must run on. */
export type WheelTarget = {
  architecture: Architecture;
  /** "3.11" */
  python: string;
  /** glibc's version: "2.34". */
  glibc: string;
};

const LEGACY: Readonly<Record<string, string>> = {
  manylinux1: "2_5",
  manylinux2010: "2_12",
  manylinux2014: "2_17",
};
const MACHINE = { amd64: "x86_64", arm64: "aarch64" } as const;

/** How well a wheel's file name fits, higher is better, null when it cannot be installed (PEP 425, 600; what pip would prefer). */
export function wheelFit(filename: string, target: WheelTarget): number | null {
  const parts = /^[^-]+-[^-]+(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl$/.exec(filename);
  if (parts === null) return null;
  const [pythons, abis, platforms] = [parts[1] ?? "", parts[2] ?? "", parts[3] ?? ""].map((part) => part.split("."));
  const interpreter = bestOf(pythons ?? [], (python) => bestOf(abis ?? [], (abi) => interpreterFit(python, abi, target.python)));
  const platform = bestOf(platforms ?? [], (tag) => platformFit(tag, target));
  return interpreter === null || platform === null ? null : interpreter * 1000 + platform;
}

function bestOf(tags: readonly string[], fit: (tag: string) => number | null): number | null {
  const fits = tags.map(fit).filter((value) => value !== null);
  return fits.length === 0 ? null : Math.max(...fits);
}

function interpreterFit(python: string, abi: string, version: string): number | null {
  const minor = Number(version.split(".")[1]);
  const own = `cp3${minor}`;
  if (python === own && abi === own) return 300;
  const since = /^cp3(\d+)$/.exec(python)?.[1];
  if (since !== undefined && abi === "abi3" && Number(since) <= minor) return 200 + Number(since);
  if (abi !== "none") return null;
  if (python === own) return 199;
  const pure = /^py3(\d*)$/.exec(python)?.[1];
  return pure !== undefined && (pure === "" || Number(pure) <= minor) ? 100 : null;
}

function platformFit(tag: string, { architecture, glibc }: WheelTarget): number | null {
  if (tag === "any") return 1;
  const machine = `_${MACHINE[architecture]}`;
  if (!tag.endsWith(machine)) return null;
  const system = tag.slice(0, -machine.length);
  if (system === "linux") return 2;
  const [, major, minor] = /^(?:manylinux_)?(\d+)_(\d+)$/.exec(LEGACY[system] ?? system) ?? [];
  const has = glibc.split(".").map(Number);
  if (major === undefined || Number(major) !== has[0] || Number(minor) > (has[1] ?? 0)) return null;
  return 3 + Number(minor);
}
