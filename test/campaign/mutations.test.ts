import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { rawjsonReader } from "../../ci/engines/buildkit/rawjson.js";
import { loadHashes, saveHashes } from "../../ci/state/hash-cache.js";
import { readNote, writeNote } from "../../ci/host/note.js";
import { withAccount } from "../../dagger/src/pipeline/layer/account-files.js";
import { installedPackages } from "../../dagger/src/pipeline/contents/dpkg-status.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { manifestNode } from "../../dagger/src/pipeline/prune/manifest-node.js";
import {
  isParentIndex,
  isFileIndex,
  isImageConfig,
  isImageIndex,
  isManifest,
  jsonOf,
} from "../../dagger/src/pipeline/oci/guards.js";
import { parseLock, parseSpec } from "../../dagger/src/pipeline/config/parse.js";
import { readRequirement, requirementText } from "../../dagger/src/pipeline/python/pep508.js";
import { readProject, requirementsOf } from "../../dagger/src/pipeline/python/requirements.js";
import { compileIgnore, readIgnoreLines } from "../../dagger/src/pipeline/context/dockerignore.js";
import { IndexFold } from "../../dagger/src/pipeline/contents/fold-layers.js";
import { partsOf, readStageArtifact } from "../../dagger/src/pipeline/oci/stage-artifact.js";
import { parseChallenges, parseScopes } from "../../dagger/src/registry/auth/challenge.js";
import { helperCredentials, parseDockerConfig } from "../../dagger/src/registry/auth/docker-config.js";
import { reportedErrors } from "../../dagger/src/registry/http/registry-errors.js";
import { nextLink } from "../../dagger/src/registry/api/listing.js";
import { outsideUrl } from "../../dagger/src/registry/http/outside-url.js";
import { proxyFor } from "../../dagger/src/registry/http/proxy.js";
import { parseReference } from "../../dagger/src/registry/reference/reference.js";
import { tarHeader } from "../../dagger/src/pipeline/layer/write-tar.js";
import { changed } from "./mutate.js";
import { randomOf, rounds, seed, tally } from "./rounds.js";

/** Real inputs of every parser, changed at random: each gives a value, or an error that a person can act on. */
const here = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const hex = "a".repeat(64);
const blob = (mediaType: string) => ({ mediaType, digest: `sha256:${hex}`, size: 1 });

const texts: Readonly<Record<string, readonly [string, (text: string) => unknown]>> = {
  "images.yaml": [here("images.yaml"), (text) => parseSpec(text)],
  "images.lock": [here("images.lock").slice(0, 6_000), (text) => parseLock(text)],
  "pyproject.toml": [
    '[project]\nname = "app"\nversion = "1.0"\ndependencies = ["attrs>=22; python_version < \'3.12\'", "x[a,b] @ https://h/x.whl"]\n[project.optional-dependencies]\ndev = ["pytest"]\n[project.scripts]\napp = "app.cli:main"\n',
    (text) => requirementsIn("pyproject.toml", text),
  ],
  "setup.cfg": [
    "[metadata]\nname = app\nversion = 1.0\n[options]\ninstall_requires =\n  attrs>=22\n  jq\n[options.entry_points]\nconsole_scripts =\n  app = app.cli:main\n",
    (text) => requirementsIn("setup.cfg", text),
  ],
  "a requirement": [
    "Name_x[extra,b]>=1.0,<2!=1.5; (python_version < '3.12' and os_name == \"nt\") or extra == 'dev'",
    (text) => {
      const read = readRequirement(text);
      if (!read.ok) return;
      const written = requirementText(read.requirement);
      const again = readRequirement(written);
      expect(again.ok && requirementText(again.requirement)).toBe(written);
    },
  ],
  ".dockerignore": [
    "# x\n**/*.pyc\n!keep/**\n/a*b?[c-e]/\\*f\n  docs/**/x|y  \n*.{a,b}\n",
    (text) => {
      const rules = compileIgnore(readIgnoreLines(text));
      for (const path of ["a", "keep/x.pyc", `docs/${"a/".repeat(40)}x`]) rules.canSkip(path);
    },
  ],
  "a reference": [`ghcr.io:443/acme/image-factory:1.0@sha256:${hex}`, parseReference],
  WWW: [
    'Bearer realm="https://h/token",service="h",scope="repository:a/b:pull,push", Basic realm="x"',
    (text) =>
      parseChallenges(text).map(({ parameters }) => [
        outsideUrl(parameters["realm"] ?? "", new URL("https://h")),
        parseScopes(parameters["scope"]),
      ]),
  ],
  Link: ['</v2/a/tags/list?last=x&n=100>; rel="next"', (text) => outsideUrl(nextLink(text) ?? "", new URL("https://h"))],
  "a proxy": ["http://user:pass%23@proxy.example:3128", (text) => proxyFor(new URL("https://h"), { HTTPS_PROXY: text })],
  errors: [
    '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x","detail":{"a":1}}]}',
    (text) => reportedErrors(Buffer.from(text)),
  ],
  "config.json": [
    '{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"h":{"identitytoken":"x"}},"credHelpers":{"ghcr.io":"gh"},"credsStore":"secretservice"}',
    (text) => parseDockerConfig(text, "config.json"),
  ],
  "a helper": ['{"ServerURL":"h","Username":"<token>","Secret":"x"}', (text) => helperCredentials(text, "docker-credential-x")],
  "an index": [
    JSON.stringify({ schemaVersion: 2, manifests: [blob("m"), blob("n")], annotations: { "io.image-factory.key": "k" } }),
    (text) => {
      const value = jsonOf(Buffer.from(text));
      manifestNode(`sha256:${hex}`, Buffer.from(text), { tags: [], since: null, remembered: false });
      return isImageIndex(value) ? readStageArtifact(value, "k" as never) : null;
    },
  ],
  "a manifest": [
    JSON.stringify({ schemaVersion: 2, config: blob("c"), layers: [blob("l")], subject: blob("s"), annotations: { a: "b" } }),
    (text) => {
      const value = jsonOf(Buffer.from(text));
      manifestNode(`sha256:${hex}`, Buffer.from(text), { tags: [], since: null, remembered: false });
      return isManifest(value) ? partsOf(value) : null;
    },
  ],
  "an image's config": [
    JSON.stringify({
      os: "linux",
      architecture: "amd64",
      config: { Env: ["A=b"], Cmd: null },
      rootfs: { diff_ids: [hex] },
      history: [{}],
    }),
    (text) => isImageConfig(jsonOf(Buffer.from(text))),
  ],
  "stage indexes": [
    JSON.stringify({
      format: 1,
      directories: [["/", "755", 0, 0, "a"]],
      symlinks: [["/b", "a"]],
      entries: [{ path: "/a", type: "file", mode: "644", uid: 0, gid: 0, size: 1, sha256: hex }],
      accounts: {},
      packages: { manager: "none" },
    }),
    (text) => [isFileIndex, isParentIndex].map((is) => is(jsonOf(Buffer.from(text)))),
  ],
  passwd: [
    "root:x:0:0:root:/root:/bin/sh\n+::::::\n#x\ndaemon:x:1:1::/:\n",
    (text) => {
      const file = { text, mode: "644", uid: 0, gid: 0 };
      return withAccount(
        { "/etc/passwd": file, "/etc/group": file },
        { name: "app", uid: 1000, gid: 1000, home: "/home/app", shell: "/bin/sh", subordinate: null },
      );
    },
  ],
  "dpkg's status": [
    "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n\nPackage: x\nStatus: install ok installed\nArchitecture: i386\nVersion: 2\nDescription: a\n b\n",
    installedPackages,
  ],
  rawjson: [
    '{"vertexes":[{"digest":"sha256:aa","name":"[base 1/2] RUN x","started":"2026-01-01T00:00:00Z","completed":"2026-01-01T00:00:01Z"}],"statuses":[{"id":"x:","vertex":"sha256:aa","current":1}],"logs":[{"vertex":"sha256:aa","stream":1,"data":"YQ=="}],"warnings":[{"short":"YQ==","detail":["YQ=="]}]}',
    (text) => {
      const reader = rawjsonReader({ stage: "runtime" });
      for (const line of text.split("\n")) reader.take(line);
      return reader.failure();
    },
  ],
};

const requirementsIn = (path: string, text: string) => {
  const project = readProject(path, text);
  return project.kind === "static" ? requirementsOf([project]) : null;
};

test.each(Object.keys(texts))("%s, changed at random", (name) => {
  const [text, read] = texts[name]!;
  const random = randomOf(`mutations of ${name}`);
  const seen = tally();
  const before = Object.getOwnPropertyNames(Object.prototype);
  const count = name.startsWith("images.") ? { short: 25, long: 2_000 } : { short: 300, long: 20_000 };
  for (let round = rounds(count); round > 0; round--) {
    const mutated = changed(random, text);
    try {
      read(mutated);
      seen.add("read");
    } catch (error) {
      if (!(error instanceof FactoryError))
        throw new Error(`seed ${seed}: ${name}: ${JSON.stringify(mutated).slice(0, 2_000)}`, { cause: error });
      seen.add(error.code);
    }
  }
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
  seen.print(`mutations of ${name}`);
});

const scratch = mkdtempSync(join(tmpdir(), "mutations-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** What a state folder keeps: read again it is the value that was written, or nothing, whatever was changed in it. */
const stat = { size: 1, mtimeMs: 1_000, ctimeMs: 1_000, ino: 1 } as never;
const kept: Readonly<Record<string, { write(file: string): void; read(file: string): unknown }>> = {
  "a record of a stage": {
    write: (file) =>
      writeNote(file, { key: "k", digest: `sha256:${hex}`, ref: null, parent: null, trust: "protected", seconds: 1.5 }, 2),
    read: (file) => readNote(file),
  },
  "keys of the last build": {
    write: (file) => writeNote(file, { "base-tools": hex.slice(24), runtime: hex.slice(24) }),
    read: (file) => readNote(file),
  },
  "hashes of files": {
    write: (file) => {
      const hashes = loadHashes(file);
      hashes.set("/context/file", stat, hex, 10_000);
      saveHashes(file, hashes);
    },
    read: (file) => loadHashes(file).get("/context/file", stat) ?? null,
  },
};

test.each(Object.keys(kept))("%s, changed at random in the state folder", (name) => {
  const { write, read } = kept[name]!;
  const random = randomOf(`mutations of ${name}`);
  const seen = tally();
  const file = join(scratch, "note.json");
  rmSync(file, { force: true });
  write(file);
  const [text, value] = [readFileSync(file, "utf8"), read(file)];
  expect(value).not.toBeNull();
  for (let round = rounds({ short: 300, long: 20_000 }); round > 0; round--) {
    const mutated = changed(random, text);
    writeFileSync(file, mutated);
    const found = read(file);
    if (found !== null) expect(found, `seed ${seed}: ${mutated.slice(0, 2_000)}`).toEqual(value);
    seen.add(found === null ? "nothing" : "the same");
  }
  seen.print(`mutations of ${name}`);
});

test("a tar, changed at random", () => {
  const random = randomOf("mutations of a tar");
  const seen = tally();
  const at = { mode: "644", uid: 0, gid: 0 };
  const content = { from: "text", text: "xxx" } as never;
  const folder = tarHeader({ path: "/a", type: "directory", ...at }, 0);
  const file = tarHeader({ path: "/a/b", type: "file", size: 3, sha256: hex, content, ...at }, 0);
  const whole = Buffer.concat([folder, file, Buffer.alloc(512, "x"), Buffer.alloc(1024)]);
  for (let round = rounds({ short: 500, long: 50_000 }); round > 0; round--) {
    const bytes = Buffer.from(whole);
    for (let left = 1 + random.below(3); left > 0; left--) bytes[random.below(1024)] = random.below(256);
    // A wrong checksum would hide what is behind it.
    for (const at of [0, 512]) {
      bytes.fill(0x20, at + 148, at + 156);
      const sum = bytes.subarray(at, at + 512).reduce((all, byte) => all + byte, 0);
      bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
    }
    const fold = new IndexFold(null);
    fold.start();
    try {
      fold.push(bytes.subarray(0, random.below(4) === 0 ? random.below(bytes.length) : bytes.length));
      fold.end();
      const index = fold.index();
      expect(isFileIndex(JSON.parse(JSON.stringify(index))), JSON.stringify(index)).toBe(true);
      seen.add("read");
    } catch (error) {
      // The caller knows which layer it was, and says so.
      if (!(error instanceof Error) || error.constructor !== Error) throw error;
      seen.add("refused");
    }
  }
  seen.print("mutations of a tar");
});
