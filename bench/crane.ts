import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { goFor } from "../ci/engines/embedded/binaries.js";
import { cacheFolder } from "../ci/state/state.js";
import { runOnce } from "./interleave.js";
import { checkout, progress } from "./scratch.js";

const source = join(checkout, "bench", "crane");
const importPath = "github.com/google/go-containerregistry";

export type CraneTools = { crane: string; registry: string; version: string };

/**
 * crane at the version that bench/crane/go.mod pins, and a registry of the same module, compiled once into the user's cache (about ten
 * seconds).
 * @throws Error without a Go that can compile them
 */
export const ensureCrane = async (): Promise<CraneTools> => {
  const inputs = ["go.mod", "go.sum", "registry/main.go"].map((name) => readFileSync(join(source, name), "utf8"));
  const version = new RegExp(`${importPath} v(\\S+)`).exec(inputs[0]!)?.[1] ?? "unknown";
  const cache = cacheFolder(process.env);
  const folder = join(cache, `crane-${version}-${createHash("sha256").update(inputs.join("\n")).digest("hex").slice(0, 12)}`);
  const tools = { crane: join(folder, "crane"), registry: join(folder, "registry"), version };
  if (existsSync(folder)) return tools;
  const go = await goFor(process.env);
  if ("why" in go) throw new Error(`cannot compile crane: ${go.why}; install Go from https://go.dev/dl/`);
  progress(`compiling crane ${version} into ${folder} (once)`);
  mkdirSync(cache, { recursive: true });
  const draft = mkdtempSync(`${folder}.`);
  const flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w"];
  runOnce({
    command: [go.go, "build", ...flags, "-o", `${draft}/`, `${importPath}/cmd/crane`, "./registry"],
    cwd: source,
    env: { CGO_ENABLED: "0" },
  });
  renameSync(draft, folder);
  return tools;
};

/** What went over a registry's connections, headers and all, in bytes. */
export type Traffic = { up: number; down: number };

export type CountedRegistry = { host: string; traffic(): Promise<Traffic>; stop(): void };

/** An empty registry on this machine, at a port that the system chooses, with its blobs as files in a folder that is emptied. */
export const serveRegistry = async ({ registry }: CraneTools, folder: string): Promise<CountedRegistry> => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const child = spawn(registry, [folder], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).once("line", resolve);
    child.once("error", reject).once("exit", (code) => reject(new Error(`the registry ended with ${code} before it served`)));
  });
  const said = JSON.parse(line) as { registry: string; counts: string };
  return {
    host: said.registry,
    traffic: async () => (await (await fetch(`http://${said.counts}`)).json()) as Traffic,
    stop: () => void child.kill(),
  };
};
