import { expect, test } from "vitest";
import { FactoryError } from "../../../../dagger/src/pipeline/common/error.js";
import { outsideUrl } from "../../../../dagger/src/registry/http/outside-url.js";
import { basicOf, proxyFor } from "../../../../dagger/src/registry/http/proxy.js";

const registry = new URL("https://registry.example/v2/");

test.each([
  "http://[",
  "https://",
  "http://a:b:c/",
  "ftp://localhost/token",
  "data:text/plain,x",
  "javascript:0",
  "http://h:99999/",
])("%s is no address", (text) => expect(outsideUrl(text, registry)).toBeNull());

test("a path is one of the host that gave it", () => {
  expect(outsideUrl("/v2/x?n=1", registry)?.href).toBe("https://registry.example/v2/x?n=1");
});

test.each([
  "http://user:s3cr#t@proxy:3128",
  "http://user:s3cr t@pro xy",
  "http://user:s3cr?t@proxy",
  "http://user:s3cr/t@proxy",
  "http://[",
])("the proxy %s is refused, and not shown", (proxy) => {
  const asked = () => proxyFor(registry, { HTTPS_PROXY: proxy });
  expect(asked).toThrow(FactoryError);
  expect(asked).toThrow(/HTTPS_PROXY/);
  expect(asked).not.toThrow(/s3cr/);
});

test("a password's characters reach the proxy as they are, with and without percent encoding", () => {
  const login = (proxy: string) => {
    const header = basicOf(proxyFor(registry, { HTTPS_PROXY: proxy })!) ?? "";
    return Buffer.from(header.replace("Basic ", ""), "base64").toString();
  };
  expect(login("http://user:p%23s%25s@proxy:3128")).toBe("user:p#s%s");
  expect(login("http://user:50%zz@proxy:3128")).toBe("user:50%zz");
  expect(login("http://user:100%@proxy:3128")).toBe("user:100%");
});
