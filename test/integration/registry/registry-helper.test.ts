import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../../../ci/host/process.js";
import { findCredentials } from "../../../dagger/src/registry/auth/credentials.js";

/** A helper as docker/docker-credential-helpers describes them: the action as its argument, the server on standard input. */
const script = `#!/bin/sh
server=$(cat)
echo "$1 $server" >>"$0.log"
case $server in
  ghcr.io) echo '{"ServerURL":"ghcr.io","Username":"me","Secret":"from the helper"}' ;;
  https://index.docker.io/v1/) echo '{"ServerURL":"https://index.docker.io/v1/","Username":"<token>","Secret":"an identity token"}' ;;
  https://old.example) echo '{"ServerURL":"https://old.example","Username":"old","Secret":"by address"}' ;;
  locked.example) echo "the key ring is locked: super-secret-hint"; exit 3 ;;
  odd.example) echo "super-secret-hint" ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
`;

describe("a credential helper", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "registry-helper-"));
    await mkdir(join(folder, "home/.docker"), { recursive: true });
    await writeFile(join(folder, "docker-credential-test"), script);
    await chmod(join(folder, "docker-credential-test"), 0o755);
    const auths = { "ghcr.io": {}, "other.example": { auth: Buffer.from("me:in the file").toString("base64") } };
    await writeFile(
      join(folder, "home/.docker/config.json"),
      JSON.stringify({ auths, credsStore: "test", credHelpers: { "gcr.io": "not-installed-anywhere" } }),
    );
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const find = (registry: string) =>
    findCredentials(
      { registry, repository: "acme/x" },
      {
        env: {},
        home: join(folder, "home"),
        runHelper: (program, args, input) => run(program, args, { input, env: { PATH: `${folder}:${process.env["PATH"]}` } }),
      },
    );
  const source = "docker-credential-test";

  test("gives a login, an identity token, or none", async () => {
    expect(await find("ghcr.io")).toEqual({
      credentials: { kind: "basic", username: "me", password: "from the helper" },
      source,
      notes: [],
    });
    expect(await find("docker.io")).toEqual({ credentials: { kind: "identity", token: "an identity token" }, source, notes: [] });
    expect(await find("unknown.example")).toEqual({ credentials: null, source: null, notes: [] });
    expect(await readFile(join(folder, "docker-credential-test.log"), "utf8")).toBe(
      "get ghcr.io\nget https://index.docker.io/v1/\nget unknown.example\nget https://unknown.example\n",
    );
  });

  test("is asked by address too, as old logins are kept", async () => {
    expect((await find("old.example")).credentials).toEqual({ kind: "basic", username: "old", password: "by address" });
  });

  test("that knows nothing leaves the file's own login", async () => {
    expect(await find("other.example")).toMatchObject({
      credentials: { password: "in the file" },
      source: "~/.docker/config.json",
    });
  });

  test("that is not there or fails leaves a note without its words", async () => {
    expect(await find("gcr.io")).toEqual({
      credentials: null,
      source: null,
      notes: ["~/.docker/config.json names docker-credential-not-installed-anywhere, which is not on PATH"],
    });
    const failed = await find("locked.example");
    expect(failed.notes).toEqual(["~/.docker/config.json names docker-credential-test, which failed with exit code 3"]);
    expect(JSON.stringify(failed)).not.toContain("super-secret");
  });

  test("whose answer cannot be read is told without its words", async () => {
    const error: unknown = await find("odd.example").catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "CREDENTIALS_INVALID" });
    expect(JSON.stringify(error) + String(error)).not.toContain("super-secret");
  });
});
