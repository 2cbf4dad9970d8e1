import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { run } from "../../../ci/host/process.js";

export type TestRegistry = {
  /** `127.0.0.1:port`, plain http. */
  host: string;
  /** Pushes an image of an OCI layout (`layout:name`) or any other source of skopeo's; returns the reference with its digest. */
  push(source: string, repository: string): Promise<{ reference: string; digest: string }>;
  /** distribution's own garbage collection; nobody may push meanwhile. */
  collectGarbage(): Promise<void>;
  close(): Promise<void>;
};

/** Debian's docker-registry on a port that the system chooses, with its blobs below `folder`. */
export const startRegistry = async (folder: string): Promise<TestRegistry> => {
  await mkdir(join(folder, "blobs"), { recursive: true });
  const config = join(folder, "registry.yml");
  const storage = `storage: { filesystem: { rootdirectory: ${JSON.stringify(join(folder, "blobs"))} }, delete: { enabled: true } }`;
  await writeFile(config, `version: 0.1\nlog: { level: info, formatter: json }\n${storage}\nhttp: { addr: "127.0.0.1:0" }\n`);
  const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const host = await new Promise<string>((resolve, reject) => {
    const words: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      words.push(line);
      const found = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`docker-registry ended: ${words.slice(-3).join("\n")}`)));
  });
  return {
    host,
    async push(source, repository) {
      const digestFile = join(folder, "digest");
      const to = `docker://${host}/${repository}`;
      const done = await run("skopeo", [
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        "--preserve-digests",
        "--digestfile",
        digestFile,
        source,
        to,
      ]);
      if (done.exitCode !== 0) throw new Error(`skopeo copy ${source} ${to}: ${done.stderr}`);
      const digest = (await run("cat", [digestFile])).stdout.trim();
      return { reference: `${host}/${repository}@${digest}`, digest };
    },
    async collectGarbage() {
      const done = await run("docker-registry", ["garbage-collect", config]);
      if (done.exitCode !== 0) throw new Error(done.stderr);
    },
    async close() {
      child.kill();
      await ended;
    },
  };
};
