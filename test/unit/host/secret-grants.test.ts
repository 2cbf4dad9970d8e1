import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { gatherSecrets, openProxies, secretProxies, withheldNotes } from "../../../ci/host/secrets.js";

/** Without the host's CA bundle, which is no declared secret. */
const granted = (
  declared: Parameters<typeof gatherSecrets>[0],
  env: Record<string, string>,
  scope: "protected" | "fork" = "protected",
) => gatherSecrets(declared, env, scope).list.filter(({ id }) => id !== "host-ca");

describe("images.yaml grants nothing", () => {
  test.each(["env:FACTORY_REGISTRY_TOKEN", "file:/etc/shadow", "file:/etc/passwd", "file:~/.docker/config.json"])(
    "from: %s",
    (from) => {
      const declared = { token: { from, as: "env:TOKEN" }, other: { from, as: "env:FACTORY_REGISTRY_TOKEN" } };
      expect(granted(declared, { FACTORY_REGISTRY_TOKEN: "secret-value", TOKEN: "secret-value" })).toEqual([]);
    },
  );
});

describe("who runs the command grants", () => {
  const declared = { token: { as: "env:TOKEN" }, conf: { as: "file:/etc/pip.conf" } };
  const folder = mkdtempSync(join(tmpdir(), "grants-"));
  const file = join(folder, "with blank.txt");
  writeFileSync(file, "file-value");

  test("a variable", () => {
    expect(granted(declared, { FACTORY_SECRET: "id=token,env=MINE", MINE: "mine-value" })).toEqual([
      { id: "token", env: "MINE", value: "mine-value" },
    ]);
  });
  test("a file, and several at once", () => {
    expect(granted(declared, { FACTORY_SECRET: `id=token,env=MINE\nid=conf,src=${file}`, MINE: "mine-value" })).toEqual([
      { id: "token", env: "MINE", value: "mine-value" },
      { id: "conf", file, value: "file-value" },
    ]);
  });
  test("for all of a machine; what is typed counts more; what the machine lacks is left out", () => {
    const env = { FACTORY_SECRETS: "id=token,env=ONE id=conf,env=ABSENT id=undeclared,env=ONE", ONE: "one-value" };
    expect(granted(declared, env)).toEqual([{ id: "token", env: "ONE", value: "one-value" }]);
    expect(granted(declared, { ...env, FACTORY_SECRET: "id=token,env=TWO", TWO: "two-value" })).toEqual([
      { id: "token", env: "TWO", value: "two-value" },
    ]);
  });
  test("and a fork is given nothing", () => {
    const env = {
      FACTORY_SECRET: "id=token,env=MINE",
      FACTORY_SECRETS: "id=token,env=MINE",
      MINE: "mine-value",
    };
    expect(granted(declared, env, "fork")).toEqual([]);
    expect(granted({ index: { as: "env:PIP_INDEX_URL" } }, { PIP_INDEX_URL: "https://mirror/simple" }, "fork")).toEqual([]);
    expect(withheldNotes(declared, env, "fork")).toEqual(["secrets that no step gets: token, conf; a fork is given none"]);
  });
  test.each([
    ["id=token,env=ABSENT", "INPUT_MISSING", "the environment has no ABSENT"],
    ["id=token,src=/nowhere/at/all", "INPUT_MISSING", "there is no /nowhere/at/all"],
    ["id=token,src=/dev/zero", "INPUT_MISSING", "/dev/zero is no regular file"],
    ["id=nobody,env=MINE", "USAGE", "declares no secret nobody"],
    ["id=token,env=SHORT", "USAGE", "too short"],
    ["token-value-itself", "USAGE", "cannot read --secret"],
    ["id=token", "USAGE", "cannot read --secret"],
    ["id=token,env=MINE,src=x", "USAGE", "cannot read --secret"],
  ])("%s is refused", (grant, code, words) => {
    const gather = () => gatherSecrets(declared, { FACTORY_SECRET: grant, MINE: "mine-value", SHORT: "abc" }, "protected");
    expect(gather).toThrow(expect.objectContaining({ code, message: expect.stringContaining(words) }));
    expect(gather).not.toThrow(/token-value-itself/);
  });
  test("package mirrors are the host's own, unless a login stands in them", () => {
    const index = { index: { as: "env:PIP_INDEX_URL" }, token: { as: "env:TOKEN" } };
    const value = "https://mirror/simple";
    expect(granted(index, { PIP_INDEX_URL: value }, "protected")).toEqual([
      { id: "index", env: "PIP_INDEX_URL", value, shown: true },
    ]);
    expect(granted(index, { PIP_INDEX_URL: "https://user:pass@mirror/simple" })).toEqual([]);
    expect(withheldNotes(index, { PIP_INDEX_URL: value }, "protected")).toEqual([
      "secrets that no step gets: token; to grant one: -- --secret id=token,env=VARIABLE (or src=FILE)",
    ]);
  });
});

test("a proxy with a login is a secret, another an argument", () => {
  const env = {
    HTTPS_PROXY: "http://user:pass@proxy:1",
    https_proxy: "http://user:pass@proxy:2",
    HTTP_PROXY: "http://proxy:3",
    NO_PROXY: "a",
  };
  expect(openProxies(env)).toEqual({ HTTP_PROXY: "http://proxy:3", NO_PROXY: "a" });
  expect(secretProxies(env)).toEqual({
    declared: {
      "host-upper-https-proxy": { as: "variable:HTTPS_PROXY" },
      "host-lower-https-proxy": { as: "variable:https_proxy" },
    },
    list: [
      { id: "host-upper-https-proxy", env: "HTTPS_PROXY", value: env.HTTPS_PROXY },
      { id: "host-lower-https-proxy", env: "https_proxy", value: env.https_proxy },
    ],
  });
});
