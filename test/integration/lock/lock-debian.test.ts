import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { debianMirror, sourceLines } from "../../../dagger/src/pipeline/steps/debian-base.js";
import { readUris, resolveDebian } from "../../../ci/lock/apt/apt-packages.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";

const source = { suite: "bookworm", mirror: debianMirror } as const;
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lock-debian-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const resolve = async (
  include: string[],
  requested: string[],
  more: { architecture?: "arm64"; mirror?: string; suite?: string } = {},
) => {
  const work = await mkdtemp(join(folder, "work-"));
  return resolveDebian({
    ...source,
    architecture: "amd64",
    ...more,
    include,
    requested,
    work,
    cache: join(folder, "cache"),
  });
};

/** Why the tests against Debian's mirror cannot run here, or null. */
const absent = await (async () => {
  const work = await mkdtemp(join(tmpdir(), "lock-debian-"));
  try {
    await resolveDebian({
      ...source,
      architecture: "amd64",
      include: [],
      requested: [],
      work,
      cache: null,
    });
    return null;
  } catch (error) {
    if (error instanceof FactoryError && ["HOST_TOOL_MISSING", "MIRROR_UNREACHABLE"].includes(error.code))
      return error.explanation.why;
    throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
})();

describe.skipIf(absent !== null)(`Debian's mirror${absent === null ? "" : ` (skipped: ${absent})`}`, () => {
  test("the base is minbase and what is included; the packages come on top of it", async () => {
    const { bootstrap, packages } = await resolve(["ca-certificates"], ["git", "ca-certificates"]);
    const names = (pins: readonly string[]) => pins.map((pin) => pin.replace(/=.*/, ""));
    expect(bootstrap.requested).toEqual(["ca-certificates"]);
    expect(names(bootstrap.packages)).toEqual(
      expect.arrayContaining(["apt", "bash", "ca-certificates", "dpkg", "openssl", "tzdata"]),
    );
    expect(packages.requested).toEqual(["ca-certificates", "git"]);
    expect(names(packages.packages)).toEqual(expect.arrayContaining(["git", "git-man", "liberror-perl"]));
    // Recommended by git, and not needed.
    expect(names(packages.packages)).not.toContain("less");
    expect(packages.packages.filter((pin) => bootstrap.packages.includes(pin))).toEqual([]);
    for (const pin of [...bootstrap.packages, ...packages.packages])
      expect(pin).toMatch(/^[a-z0-9][a-z0-9+.-]+=[0-9A-Za-z.+:~-]+$/);
  });

  test("a name that no package has is no regular expression", async () => {
    await expect(resolve([], ["libjq."])).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  test("another architecture needs no emulation", async () => {
    const { packages } = await resolve([], ["libc6-dev"], { architecture: "arm64" });
    expect(packages.packages.length).toBeGreaterThan(1);
  });

  test("lists are kept for the next time, the private state is not spread", async () => {
    await resolve([], []);
    expect(await readdir(join(folder, "cache"))).toEqual(["apt-lists"]);
    expect(await readdir(join(folder, "cache/apt-lists"))).toContain("bookworm-amd64");
  });

  test("unknown packages are named, with the likely name", async () => {
    const error = await resolve([], ["pyhton3", "nothing-at-all-like-it"]).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "CONFIG_INVALID",
      explanation: { fix: expect.stringContaining("pyhton3 → python3") },
    });
    expect(String(error)).toContain("nothing-at-all-like-it");
  });

  test("an unknown suite is not an outage", async () => {
    await expect(resolve([], [], { suite: "no-such-suite" })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });

  test("what apt would read as an option, a removal or a pattern is no package", async () => {
    for (const bad of ["--purge", "bash-", "*", "^lib", "a b"])
      await expect(resolve([], [bad]), bad).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  test("a mirror that does not answer", async () => {
    await expect(resolve([], [], { mirror: "http://127.0.0.1:1/debian" })).rejects.toMatchObject({
      code: "MIRROR_UNREACHABLE",
    });
  });
});

test("where packages come from", () => {
  const lines = sourceLines({
    suite: "trixie",
    mirror: "https://mirror.acme/debian/",
  });
  expect(lines.map((line) => line.replace(/\[.*?\] /, ""))).toEqual([
    "deb https://mirror.acme/debian trixie main",
    "deb https://mirror.acme/debian trixie-updates main",
    "deb https://mirror.acme/debian-security trixie-security main",
  ]);
  expect(sourceLines({ suite: "sid", mirror: "https://mirror.acme/debian" })).toHaveLength(1);
});

test("apt's list of files, epochs and tildes included", () => {
  const sha256 = "b".repeat(64);
  const text = [
    "Reading package lists...",
    `'http://m/pool/g/git_2.39.5-0%2bdeb12u3_amd64.deb' git_1%3a2.39.5-0+deb12u3_amd64.deb 7260000 SHA256:${sha256}`,
    "'http://m/pool/o/openssl_3.0.22-1%7edeb12u2_amd64.deb' openssl_3.0.22-1~deb12u2_amd64.deb 14 ",
  ].join("\n");
  expect(readUris(text)).toEqual([
    {
      name: "git",
      version: "1:2.39.5-0+deb12u3",
      file: "git_1%3a2.39.5-0+deb12u3_amd64.deb",
      sha256,
    },
    {
      name: "openssl",
      version: "3.0.22-1~deb12u2",
      file: "openssl_3.0.22-1~deb12u2_amd64.deb",
      sha256: null,
    },
  ]);
});

test("a line that is no package is no answer: what is passed over would be left out", () => {
  const line = (file: string) => `'http://m/pool/x.deb' ${file} 14 SHA256:${"b".repeat(64)}`;
  for (const bad of [
    "-o=x_1_amd64.deb",
    "../../x_1_amd64.deb",
    "a_1;b_amd64.deb",
    "a_1%zz_amd64.deb",
    "a_1%0ab_amd64.deb",
    "a_1_amd64.rpm",
    "a_amd64.deb",
  ])
    expect(() => readUris(line(bad)), bad).toThrow(/MIRROR_FAILED/);
  expect(() => readUris("'half a li")).toThrow(/MIRROR_FAILED/);
});
