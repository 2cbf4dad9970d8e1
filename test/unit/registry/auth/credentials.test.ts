import { describe, expect, test } from "vitest";
import { environmentCredentials, findCredentials } from "../../../../dagger/src/registry/auth/credentials.js";
import {
  helperCredentials,
  helperFor,
  parseDockerConfig,
  storedCredentials,
} from "../../../../dagger/src/registry/auth/docker-config.js";
import { failure, scratchFolder } from "../../../fixtures/scratch.js";

const { at, put } = scratchFolder();
const auth = (user: string, password: string) => Buffer.from(`${user}:${password}`).toString("base64");
const basic = (username: string, password: string) => ({ kind: "basic", username, password });

describe("a login in config.json", () => {
  const stored = (auths: Record<string, unknown>, name: string) => {
    const [registry = "", ...path] = name.split("/");
    return storedCredentials(parseDockerConfig(JSON.stringify({ auths }), "config.json"), {
      registry,
      repository: path.join("/"),
    });
  };

  test.each<[string, Record<string, unknown>, string, unknown]>([
    ["by host", { "ghcr.io": { auth: auth("me", "a:b") } }, "ghcr.io/acme/x", basic("me", "a:b")],
    ["by address", { "https://ghcr.io": { auth: auth("me", "pw") } }, "ghcr.io/acme/x", basic("me", "pw")],
    [
      "by address of the API",
      { "https://registry.example.com/v2/": { auth: auth("me", "pw") } },
      "registry.example.com/x",
      basic("me", "pw"),
    ],
    ["with a port", { "localhost:5000": { auth: auth("me", "pw") } }, "localhost:5000/x", basic("me", "pw")],
    ["of another port", { "localhost:5001": { auth: auth("me", "pw") } }, "localhost:5000/x", null],
    [
      "of Docker Hub",
      { "https://index.docker.io/v1/": { auth: auth("me", "pw") } },
      "docker.io/library/debian",
      basic("me", "pw"),
    ],
    ["in capitals", { "GHCR.io": { auth: auth("me", "pw") } }, "ghcr.io/acme/x", basic("me", "pw")],
    ["of another host", { "ghcr.io.evil.example": { auth: auth("me", "pw") } }, "ghcr.io/acme/x", null],
    [
      "for a path, the longest wins",
      { "quay.io": { auth: auth("a", "1") }, "quay.io/acme": { auth: auth("b", "2") }, "quay.io/ac": { auth: auth("c", "3") } },
      "quay.io/acme/x",
      basic("b", "2"),
    ],
    ["for another path", { "quay.io/other": { auth: auth("a", "1") } }, "quay.io/acme/x", null],
    ["in plain fields", { "ghcr.io": { username: "me", password: "pw" } }, "ghcr.io/acme/x", basic("me", "pw")],
    [
      "as an identity token",
      { "acme.azurecr.io": { auth: auth("0000", ""), identitytoken: "refresh" } },
      "acme.azurecr.io/x",
      { kind: "identity", token: "refresh" },
    ],
    ["as a registry token", { "ghcr.io": { registrytoken: "jwt" } }, "ghcr.io/acme/x", { kind: "bearer", token: "jwt" }],
    ["that is empty", { "ghcr.io": {} }, "ghcr.io/acme/x", null],
    ["with padding", { "ghcr.io": { auth: Buffer.from("me:pw\0\0").toString("base64") } }, "ghcr.io/acme/x", basic("me", "pw")],
  ])("%s", (_, auths, name, expected) => {
    expect(stored(auths, name)).toEqual(expected);
  });

  test.each([
    ["not JSON", "{ secret-of-somebody"],
    ["a list", "[]"],
  ])("a file that is %s is told, without its content", async (_, text) => {
    const error = await failure((async () => parseDockerConfig(text, "~/.docker/config.json"))());
    expect(error.code).toBe("CREDENTIALS_INVALID");
    expect(error.what).toBe("cannot read the login in ~/.docker/config.json");
    expect(JSON.stringify(error)).not.toMatch(/secret-of|c2VjcmV0/);
  });

  const odd = Buffer.from("secret-of-somebody").toString("base64");
  test.each<[string, Record<string, unknown>, string]>([
    ["an entry that is text", { auths: { "a.example": "secret-of-somebody" } }, 'auths["a.example"] is no mapping'],
    [
      "auth without a colon",
      { auths: { "a.example": { auth: odd } } },
      'auths["a.example"].auth is not the base64 of user:password',
    ],
    ["auth a number", { auths: { "a.example": { auth: 12 } } }, 'auths["a.example"].auth is no text'],
    ["helpers a list", { credHelpers: ["x"] }, "credHelpers is no mapping"],
    ["a helper with a path", { credsStore: "../../bin/sh" }, "credsStore is not the name of a credential helper"],
    [
      "a helper with a space",
      { credHelpers: { "a.example": "x; rm" } },
      'credHelpers["a.example"] is not the name of a credential helper',
    ],
  ])("%s is passed over, with a note, and the others count", (_, written, note) => {
    const good = { "ghcr.io": { auth: auth("me", "pw") } };
    const config = parseDockerConfig(
      JSON.stringify({ ...written, auths: { ...(written["auths"] as object), ...good } }),
      "config.json",
    );
    expect(storedCredentials(config, { registry: "ghcr.io", repository: "acme/x" })).toEqual(basic("me", "pw"));
    expect(storedCredentials(config, { registry: "a.example", repository: "acme/x" })).toBe(null);
    expect(helperFor(config, "a.example")).toBe(null);
    expect(config.notes).toEqual([`config.json: ${note}`]);
    expect(JSON.stringify(config.notes)).not.toMatch(/secret-of|c2VjcmV0/);
  });

  test("auths that are a list are passed over, with a note", () => {
    const config = parseDockerConfig('{"auths":["secret-of-somebody"],"credHelpers":{"ghcr.io":"pass"}}', "config.json");
    expect(helperFor(config, "ghcr.io")).toBe("docker-credential-pass");
    expect(config.notes).toEqual(["config.json: auths is no mapping"]);
  });
});

test("which helper keeps a login", () => {
  const config = parseDockerConfig('{"credsStore":"desktop","credHelpers":{"https://gcr.io":"gcloud"}}', "config.json");
  expect(helperFor(config, "gcr.io")).toBe("docker-credential-gcloud");
  expect(helperFor(config, "ghcr.io")).toBe("docker-credential-desktop");
  expect(helperFor(parseDockerConfig('{"credsStore":""}', "config.json"), "ghcr.io")).toBe(null);
});

test("what a helper answers", async () => {
  const read = (value: unknown) => helperCredentials(JSON.stringify(value), "docker-credential-x");
  expect(read({ ServerURL: "ghcr.io", Username: "me", Secret: "pw" })).toEqual(basic("me", "pw"));
  expect(read({ ServerURL: "x", Username: "<token>", Secret: "refresh" })).toEqual({ kind: "identity", token: "refresh" });
  expect(read({ Username: "me", Secret: "" })).toBe(null);
  const error = await failure((async () => helperCredentials("my-secret", "docker-credential-x"))());
  expect(error.code).toBe("CREDENTIALS_INVALID");
  expect(JSON.stringify(error)).not.toContain("my-secret");
});

describe("where a login is looked for", () => {
  const config = (user: string, host = "ghcr.io") => JSON.stringify({ auths: { [host]: { auth: auth(user, "pw") } } });
  const find = async (env: Record<string, string> = {}) => {
    const found = await findCredentials(
      { registry: "ghcr.io", repository: "acme/x" },
      { env, home: at("home"), runtime: at("podman"), runHelper: null },
    );
    return `${found.credentials?.kind === "basic" ? found.credentials.username : "nobody"} from ${found.source}`;
  };

  test("nowhere", async () => {
    expect(await find()).toBe("nobody from null");
  });

  test("what was named goes before what is usual, and the first file that knows the registry counts", async () => {
    put("home/.docker/config.json", config("docker"));
    expect(await find()).toBe("docker from ~/.docker/config.json");
    put("home/.config/containers/auth.json", config("podman"));
    expect(await find()).toBe("podman from ~/.config/containers/auth.json");
    put("run/containers/auth.json", config("session"));
    expect(await find({ XDG_RUNTIME_DIR: at("run") })).toBe(`session from ${at("run/containers/auth.json")}`);
    put("named/config.json", config("named"));
    expect(await find({ XDG_RUNTIME_DIR: at("run"), DOCKER_CONFIG: at("named") })).toBe(`named from ${at("named/config.json")}`);
    put("auth.json", config("file"));
    expect(await find({ REGISTRY_AUTH_FILE: at("auth.json"), DOCKER_CONFIG: at("named") })).toBe(`file from ${at("auth.json")}`);
    put("auth.json", config("other", "quay.io"));
    expect(await find({ REGISTRY_AUTH_FILE: at("auth.json"), DOCKER_CONFIG: at("named") })).toBe(
      `named from ${at("named/config.json")}`,
    );
    put("auth.json", "");
    expect(await find({ REGISTRY_AUTH_FILE: at("auth.json"), DOCKER_CONFIG: at("named") })).toBe(
      `named from ${at("named/config.json")}`,
    );
  });

  test("Podman's file without a session, and a config.json in the environment", async () => {
    put("home/.config/containers/auth.json", config("podman"));
    put("podman/auth.json", config("root"));
    expect(await find()).toBe(`root from ${at("podman/auth.json")}`);
    put("run/containers/auth.json", config("session"));
    expect(await find({ XDG_RUNTIME_DIR: at("run") })).toBe(`session from ${at("run/containers/auth.json")}`);
    put("named/config.json", config("named"));
    const named = { DOCKER_CONFIG: at("named"), DOCKER_AUTH_CONFIG: config("job") };
    expect(await find(named)).toBe("job from DOCKER_AUTH_CONFIG");
    expect(await find({ ...named, DOCKER_AUTH_CONFIG: config("job", "quay.io") })).toBe(`named from ${at("named/config.json")}`);
    expect(await find({ ...named, DOCKER_AUTH_CONFIG: "" })).toBe(`named from ${at("named/config.json")}`);
    await expect(find({ DOCKER_AUTH_CONFIG: "my-secret" })).rejects.toMatchObject({
      code: "CREDENTIALS_INVALID",
      explanation: { what: "cannot read the login in DOCKER_AUTH_CONFIG", why: "it is not JSON" },
    });
  });

  test("a broken file is told, and not passed over", async () => {
    put("home/.docker/config.json", "{");
    await expect(find()).rejects.toMatchObject({ code: "CREDENTIALS_INVALID", exitCode: 78 });
  });

  test("a helper that cannot be started here leaves a note, and what stands in the file counts", async () => {
    put("home/.docker/config.json", JSON.stringify({ credsStore: "desktop", auths: { "ghcr.io": { auth: auth("me", "pw") } } }));
    const found = await findCredentials(
      { registry: "ghcr.io", repository: "acme/x" },
      { env: {}, home: at("home"), runtime: at("podman"), runHelper: null },
    );
    expect(found).toEqual({
      credentials: basic("me", "pw"),
      source: "~/.docker/config.json",
      notes: ["~/.docker/config.json names docker-credential-desktop, which is not started here"],
    });
  });
});

test("a login from the environment is whole or none", async () => {
  expect(environmentCredentials({})).toBe(null);
  expect(environmentCredentials({ FACTORY_REGISTRY_USER: "me", FACTORY_REGISTRY_TOKEN: "t" })?.credentials).toEqual(
    basic("me", "t"),
  );
  for (const env of [{ FACTORY_REGISTRY_USER: "me" }, { FACTORY_REGISTRY_TOKEN: "my-secret" }]) {
    const error = await failure((async () => environmentCredentials(env))());
    expect(error.code).toBe("USAGE");
    expect(JSON.stringify(error)).not.toContain("my-secret");
  }
});
