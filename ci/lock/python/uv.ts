import { createHash } from "node:crypto";
import { access, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { findProgram } from "../../host/programs.js";
import { run } from "../../host/process.js";
import type { Net } from "../common/http.js";
import { limited } from "../common/limited.js";

/**
 * The absolute path of uv, in the version that `hostTools` (builder/host-tools.txt) pins: from PATH when it is that version,
 * else from the user's cache, where pip puts it once, checked against the pinned hashes.
 * @throws FactoryError HOST_TOOL_MISSING (no python3), MIRROR_UNREACHABLE, CHECKSUM_MISMATCH, INTERRUPTED
 */
export async function findUv(hostTools: string, cache: string, net: Net): Promise<string> {
  const pins = await readFile(hostTools, "utf8");
  const version = /^uv==(\S+)/m.exec(pins)?.[1];
  if (version === undefined) throw new Error(`${hostTools} pins no uv`);
  const options = net.signal === undefined ? {} : { signal: net.signal };
  const onPath = await findProgram("uv", net.env);
  if (onPath !== null && (await run(onPath, ["--version"], options)).stdout.startsWith(`uv ${version}`)) return onPath;

  const folder = join(cache, "host-tools", createHash("sha256").update(pins).digest("hex").slice(0, 16));
  const uv = join(folder, "bin/uv");
  if (await exists(uv)) return uv;
  await mkdir(join(cache, "host-tools"), { recursive: true });
  const fresh = await mkdtemp(join(cache, "host-tools/.new-"));
  try {
    // The file pins other programs, too, which nothing here needs.
    const requirements = `${fresh}/uv.txt`;
    await writeFile(requirements, /^uv==(?:.*\\\n)+.*\n/m.exec(pins)?.[0] ?? "");
    const python = (...words: string[]) => run(...limited("python3", words), options);
    // Debian's python3 has no pip.
    const hasPip = (await python("-m", "pip", "--version")).exitCode === 0;
    const wheel = `${fresh}/pip.whl`;
    if (!hasPip) {
      const brought = await python(join(dirname(hostTools), "bring-pip.py"), wheel);
      if (brought.exitCode !== 0) throw pipFailed(brought.stderr);
    }
    const args = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--disable-pip-version-check", "--target", fresh];
    const pip = await run(
      ...limited("python3", [hasPip ? "-mpip" : `${wheel}/pip`, "install", "-q", "--no-input", ...args, "-r", requirements]),
      {
        ...options,
        env: { PIP_ROOT_USER_ACTION: "ignore", PIP_USER: "0" },
      },
    );
    if (pip.exitCode !== 0) throw pipFailed(pip.stderr);
    // Another process may have been faster; its folder has the same content.
    await rename(fresh, folder).catch(async (error: unknown) => {
      if (!(await exists(uv))) throw error;
    });
    return uv;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

function pipFailed(stderr: string): FactoryError {
  const why = stderr.trim().split("\n").slice(-6).join("\n");
  if (/python3: (?:command )?not found/.test(stderr))
    return new FactoryError("HOST_TOOL_MISSING", {
      what: "cannot get uv, which resolves Python requirements",
      why: "this machine has no python3",
      fix: "install it (Debian: apt-get install python3), or put uv of the version in builder/host-tools.txt on PATH",
    });
  if (/THESE PACKAGES DO NOT MATCH THE HASHES/.test(stderr))
    return new FactoryError("CHECKSUM_MISMATCH", {
      what: "the index gives another uv than builder/host-tools.txt pins",
      why,
      fix: "use an index that serves PyPI's own files (PIP_INDEX_URL)",
    });
  return new FactoryError("MIRROR_UNREACHABLE", {
    what: "cannot get uv, which resolves Python requirements, from the package index",
    why,
    fix: "check the network, PIP_INDEX_URL and HTTPS_PROXY, or put uv of the version in builder/host-tools.txt on PATH",
  });
}
