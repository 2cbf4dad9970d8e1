import { createHash } from "node:crypto";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readUris } from "../../ci/lock/apt/apt-packages.js";
import { resolveNpmFile, resolvePypiFile, resolveToolFile } from "../../ci/lock/files/tool-files.js";
import { readPylock } from "../../ci/lock/python/requirements-lock.js";
import { readRpmAnswer } from "../../ci/lock/dnf/dnf-script.js";
import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { lockSchema } from "../../dagger/src/pipeline/config/lock.js";
import { type Random, randomOf, rounds, seed, tally } from "./rounds.js";

/**
 * Answers of mirrors, indexes and programs, changed at random: each is read as what it says, or refused by an error that names who
 * answered; nothing that is read makes a lock that cannot be read again.
 */
const body = "#!/bin/sh\n";
const sha256 = createHash("sha256").update(body).digest("hex");
const integrity = `sha512-${createHash("sha512").update(body).digest("base64")}`;
const wheel = "task-1.0-py3-none-any.whl";

let server: Server;
let origin = "";
/** What the server answers next, by path; whole HTTP messages, so that a head can be changed, too. */
const pages = new Map<string, string>();
const message = (text: string, head = "HTTP/1.1 200 OK", more = ""): string =>
  `${head}\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n${more}\r\n${text}`;

beforeAll(async () => {
  server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (data) => {
      const path = data.toString().split(" ")[1] ?? "";
      socket.end(Buffer.from(pages.get(path) ?? message("none", "HTTP/1.1 404 Not Found"), "latin1"));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

const odd = [
  "",
  " ",
  "null",
  "0",
  "-1",
  "[]",
  "{}",
  '"',
  "'",
  "\\",
  "<",
  ">",
  "%zz",
  "%0a",
  "\n",
  "\r\n",
  "\0",
  "\u00ff",
  "://",
  "http://[",
  "file:///etc/passwd",
  "__proto__",
  "../",
  "1e999",
  "--x",
  "=",
  "#",
];

/** The text with one to four small changes. */
const changed = (random: Random, text: string): string => {
  let now = text;
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(now.length + 1);
    const length = random.below(Math.min(24, now.length - at + 1));
    const kind = random.below(5);
    const put =
      kind === 0
        ? ""
        : kind === 1
          ? random.oneOf(odd)
          : kind === 2
            ? now.slice(at, at + length).repeat(2)
            : kind === 3
              ? String.fromCharCode(random.below(256))
              : now.slice(0, random.below(16));
    now = now.slice(0, at) + put + now.slice(at + (kind === 3 ? 1 : length));
  }
  return now;
};

/** A value that may stand in images.lock, or the code of an error. */
const outcome = async (read: () => Promise<unknown> | unknown, holds: (value: unknown) => void): Promise<string> => {
  try {
    const value = await read();
    holds(value);
    return "read";
  } catch (error) {
    if (!(error instanceof FactoryError)) throw error;
    return error.code;
  }
};
const asFile = (value: unknown) => {
  const { url, sha256: hash } = value as { url: string; sha256: string };
  lockSchema.parse({ format: 1, tools: { x: { pip: { 1: { "linux/amd64": { url, sha256: hash } } } } } });
};

test("answers of package indexes, changed at random", async () => {
  const random = randomOf("lock-answers");
  const seen = tally();
  const net = { env: { PIP_INDEX_URL: `${origin}/simple`, npm_config_registry: origin } };
  const pypi = { package: "task", version: "1.0", platform: "linux/amd64", python: "3.11" } as const;
  const json = JSON.stringify({
    files: [{ filename: wheel, url: `../f/${wheel}`, hashes: { sha256 }, yanked: false }],
    meta: { "api-version": "1.0" },
  });
  const html = `<!DOCTYPE html><body>\n<a href="../f/${wheel}#sha256=${sha256}" data-requires-python="&gt;=3.6">${wheel}</a>\n</body>`;
  for (let round = rounds({ short: 300, long: 20_000 }); round > 0; round--) {
    const npm = JSON.stringify({ name: "task", dist: { tarball: `${origin}/npm.tgz`, integrity, shasum: "0" } });
    pages.set("/npm.tgz", message(body));
    const [path, text, read, holds] = random.oneOf([
      ["/simple/task/", json, () => resolvePypiFile(pypi, net), asFile],
      ["/simple/task/", html, () => resolvePypiFile(pypi, net), asFile],
      ["/task/1.0", npm, () => resolveNpmFile({ package: "task", version: "1.0" }, net), asFile],
    ] as const);
    pages.set(path, message(changed(random, text)));
    seen.add(await outcome(read, holds));
  }
  seen.print("answers of package indexes");
});

test("heads of answers and redirects, changed at random", async () => {
  const random = randomOf("lock-heads");
  const seen = tally();
  const whole = message(body);
  const moved = message("", "HTTP/1.1 302 Found", `location: ${origin}/file\r\n`);
  pages.set("/file", whole);
  for (let round = rounds({ short: 150, long: 5_000 }); round > 0; round--) {
    const text = random.oneOf([whole, moved]);
    const end = text.indexOf("\r\n\r\n") + 4;
    const head = changed(random, text.slice(0, end));
    pages.set("/start", head + text.slice(end));
    seen.add(
      await outcome(
        () => resolveToolFile({ url: `${origin}/start` }, { env: {} }),
        (value) => expect((value as { sha256: string }).sha256, `seed ${seed}`).toMatch(/^[0-9a-f]{64}$/),
      ),
    );
  }
  seen.print("heads of answers");
});

test("what programs print, changed at random", async () => {
  const random = randomOf("lock-programs");
  const seen = tally();
  const hash = "a".repeat(64);
  const uris = `Reading package lists...\n'http://m/pool/g/git_2.39_amd64.deb' git_1%3a2.39.5-0+deb12u3_amd64.deb 72 SHA256:${hash}\n'http://m/x.deb' jq_1.6-2.1_amd64.deb 1 SHA256:${hash}\n`;
  const rpm = `plugin\n{"package": "git-0:2.43.0-1.el9.x86_64"}\n{"package": "jq-0:1.6-15.el9.x86_64"}\n{"done": true}\n`;
  const pylock = `lock-version = "1.0"\n[[packages]]\nname = "attrs"\nversion = "23.1.0"\nwheels = [{ url = "https://x/a", hashes = { sha256 = "${hash}" } }]\n`;
  const packages = (list: unknown) =>
    lockSchema.parse({
      format: 1,
      images: { x: { packages: { "base-tools": { "linux/amd64": { requested: [], packages: list } } } } },
    });
  for (let round = rounds({ short: 3_000, long: 200_000 }); round > 0; round--) {
    const [text, read, holds] = random.oneOf([
      [uris, (one: string) => readUris(one).map(({ name, version }) => `${name}=${version}`), packages],
      [rpm, (one: string) => readRpmAnswer(one, ["git", "jq"], "x").packages, packages],
      [
        pylock,
        readPylock,
        (list: unknown) =>
          lockSchema.parse({ format: 1, images: { x: { python: { "linux/amd64": { requested: [], packages: list } } } } }),
      ],
    ] as const);
    const mutated = changed(random, text);
    seen.add(await outcome(() => read(mutated), holds));
  }
  seen.print("what programs print");
});
