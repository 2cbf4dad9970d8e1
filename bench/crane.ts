import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { goFor } from "../ci/engines/binaries.js";
import { runOnce } from "./interleave.js";
import { checkout, progress } from "./scratch.js";

const tools = join(checkout, "bench", "crane");
const importPath = "github.com/google/go-containerregistry";

/**
 * crane at the version that bench/crane/go.mod pins, compiled once into the user's cache (about ten seconds).
 * @throws Error without a Go that can compile it
 */
export const ensureCrane = async (): Promise<{ crane: string; version: string }> => {
  const pins = ["go.mod", "go.sum"].map((name) => readFileSync(join(tools, name), "utf8"));
  const version = new RegExp(`${importPath} v(\\S+)`).exec(pins[0]!)?.[1] ?? "unknown";
  const cache = process.env["FACTORY_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "image-factory");
  const folder = join(cache, `crane-${version}-${createHash("sha256").update(pins.join("\n")).digest("hex").slice(0, 12)}`);
  const crane = join(folder, "crane");
  if (existsSync(crane)) return { crane, version };
  const go = await goFor(process.env);
  if ("why" in go) throw new Error(`cannot compile crane: ${go.why}; install Go from https://go.dev/dl/`);
  progress(`compiling crane ${version} into ${folder} (once)`);
  mkdirSync(cache, { recursive: true });
  const draft = mkdtempSync(`${folder}.`);
  const flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w"];
  runOnce({
    command: [go.go, "build", ...flags, "-o", `${draft}/crane`, `${importPath}/cmd/crane`],
    cwd: tools,
    env: { CGO_ENABLED: "0" },
  });
  renameSync(draft, folder);
  return { crane, version };
};

/** A registry on this machine, with its blobs as files in a folder; crane brings one along. */
export const serveRegistry = async (crane: string, folder: string): Promise<{ host: string; stop(): void }> => {
  mkdirSync(folder, { recursive: true });
  const child = spawn(crane, ["registry", "serve", "--address", "127.0.0.1:0", "--disk", folder], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const port = await new Promise<string>((resolve, reject) => {
    let said = "";
    // It goes on to read what is said of each request: a full pipe would make the registry wait.
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (said.length < 10_000) said += text;
      const found = /serving on port (\d+)/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("error", reject).once("exit", () => reject(new Error(`crane registry serve ended before it served: ${said}`)));
  });
  return { host: `127.0.0.1:${port}`, stop: () => void child.kill() };
};
