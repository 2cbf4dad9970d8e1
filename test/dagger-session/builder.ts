import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rawjsonReader } from "../../ci/engines/buildkit/rawjson.js";
import { run } from "../../ci/host/process.js";
import { dockerfileOf, type FolderOf, type Translated } from "./dockerfile-of.js";
import type { Call } from "./query.js";
import { type Answer, EngineError, type Session } from "./session.js";

/** A running BuildKit and its client. */
export type BuildKit = { buildctl: string; address: string };

export type BuilderOptions = {
  /** Every build executes everything again. */
  noCache?: boolean;
  /** Images that a registry would give, by their address. */
  images?: Readonly<Record<string, { layout: string; digest: string }>>;
};

/**
 * Answers of a session that executes its containers, by a real BuildKit: `sync`, what a command printed, and exports, whose layers have
 * the times that the commands left, because nothing here rewrites them.
 */
export const builderAnswers = ({ buildctl, address }: BuildKit, folderOf: FolderOf, options: BuilderOptions = {}): Answer => {
  const printed: { name: string; stream: "stdout" | "stderr"; text: string }[] = [];

  const build = async (session: Session, chain: readonly Call[], output: readonly string[]): Promise<void> => {
    const work = mkdtempSync(join(tmpdir(), "dagger-builder-"));
    try {
      const made = dockerfileOf(session, chain, folderOf);
      const reader = rawjsonReader({ stage: "base-tools" });
      const args = await argumentsOf(made, work, output, options);
      const done = await run(buildctl, ["--addr", address, "build", ...args], {
        env: { BUILDKIT_HOST: undefined },
        onLine: (line) => {
          for (const event of reader.take(line)) {
            if (event.type === "step-started") names.set(event.step, event.name);
            if (event.type !== "step-output") continue;
            printed.push({ name: names.get(event.step) ?? "", stream: event.stream, text: event.text });
          }
        },
      });
      if (done.exitCode === 0) return;
      const failed = reader.failure();
      const exitCode = /exit code: (\d+)/.exec(failed?.error ?? "")?.[1];
      const exec = commands(chain).find((words) => failed?.name.includes(JSON.stringify(words)) === true);
      if (failed === null || exitCode === undefined || exec === undefined)
        throw new EngineError(failed?.error ?? reader.stray().join("\n"));
      throw new EngineError(`process ${JSON.stringify(exec)} did not complete successfully: exit code: ${exitCode}`, {
        cmd: exec,
        exitCode: Number(exitCode),
        stdout: "",
        stderr: failed.tail.join("\n"),
      });
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  };
  const names = new Map<string, string>();
  const printedBy = (chain: readonly Call[], ...streams: readonly string[]): string => {
    const exec = JSON.stringify(commands(chain).at(-1));
    const own = printed.filter(({ name, stream }) => name.includes(exec) && streams.includes(stream));
    return own.map(({ text }) => text).join("");
  };

  return async (chain, session) => {
    const last = chain.at(-1)!;
    if (chain[0]?.field !== "container") return undefined;
    const above = chain.slice(0, -1);
    switch (last.field) {
      case "sync":
        await build(session, above, []);
        return undefined;
      case "stdout":
      case "stderr":
        await build(session, above, []);
        return printedBy(above, last.field);
      case "combinedOutput":
        return printedBy(above, "stdout", "stderr");
      case "export": {
        const [of, word] =
          above.at(-1)?.field === "asTarball"
            ? [above.slice(0, -1), above.at(-1)!.args["forcedCompression"]]
            : [above, last.args["forcedCompression"]];
        const to = String(last.args["path"]);
        const compression = JSON.stringify(word).toLowerCase().includes("zstd") ? "zstd" : "gzip";
        await build(session, of, [`type=oci,dest=${to},compression=${compression},force-compression=true,oci-mediatypes=true`]);
        return to;
      }
      default:
        return undefined;
    }
  };
};

const commands = (chain: readonly Call[]): string[][] =>
  chain.flatMap(({ field, args }) => (field === "withExec" ? [args["args"] as string[]] : []));

const argumentsOf = async (
  made: Translated,
  work: string,
  output: readonly string[],
  { noCache = false, images: known = {} }: BuilderOptions,
): Promise<string[]> => {
  for (const folder of ["dockerfile", "context"]) mkdirSync(join(work, folder));
  writeFileSync(join(work, "dockerfile", "Dockerfile"), made.dockerfile);
  const pairs = (flag: string, values: readonly string[]) => values.flatMap((value) => [flag, value]);
  const images = await Promise.all(
    Object.entries(made.tars).map(async ([name, tar], at) => {
      const layout = join(work, `layout${at}`);
      mkdirSync(layout);
      const unpacked = await run("tar", ["--extract", "--file", tar, "--directory", layout]);
      if (unpacked.exitCode !== 0) throw new Error(unpacked.stderr);
      const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as { manifests: { digest: string }[] };
      return { name, layout, digest: manifests[0]!.digest };
    }),
  );
  // Contexts go by the short names of images.
  for (const [address, image] of Object.entries(known))
    images.push({ name: address.replace(/^docker\.io\/(?:library\/)?/, ""), ...image });
  const folders = Object.entries(made.folders);
  return [
    "--frontend",
    "dockerfile.v0",
    "--progress=rawjson",
    ...pairs("--local", [`dockerfile=${join(work, "dockerfile")}`, `context=${join(work, "context")}`]),
    ...pairs(
      "--local",
      folders.map(([name, folder]) => `${name}=${folder}`),
    ),
    ...pairs(
      "--oci-layout",
      images.map(({ layout }, at) => `layout${at}=${layout}`),
    ),
    ...pairs("--opt", [
      ...folders.map(([name]) => `context:${name}=local:${name}`),
      ...images.map(({ name, digest }, at) => `context:${name}=oci-layout://layout${at}@${digest}`),
      `target=${made.target}`,
    ]),
    ...pairs(
      "--secret",
      Object.entries(made.secrets).map(([id, file]) => `id=${id},src=${file}`),
    ),
    ...(made.dockerfile.includes("--security=insecure") ? ["--allow", "security.insecure"] : []),
    ...(noCache ? ["--no-cache"] : []),
    ...pairs("--output", output),
  ];
};
