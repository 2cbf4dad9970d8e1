import { expect, test } from "vitest";
import { placesOf } from "../../../../ci/engines/embedded/daemon.js";

/** Where the embedded engine's socket is: a path that the kernel and BuildKit's client take, whatever the state folder is called. */
test("in the state folder, where its path can be an address", () => {
  expect(placesOf("/srv/project/.factory/engine").socket).toBe("/srv/project/.factory/engine/run/buildkitd.sock");
});

test.each([
  "/srv/a#b",
  "/srv/100%",
  "/srv/%23",
  "/srv/a b",
  "/srv/größe",
  "/srv/a?b",
  "/srv/a@b:1",
  "/srv/a,b",
  `/srv/${"x".repeat(108)}`,
])("in a short folder of its own for %s", (folder) => {
  const { socket, sockets, root } = placesOf(`${folder}/engine`);
  expect(socket).toMatch(/^\/[A-Za-z0-9/._-]{1,90}\/image-factory-[0-9a-f]{12}\/buildkitd\.sock$/);
  expect(socket.startsWith(sockets)).toBe(true);
  expect(root).toBe(`${folder}/engine/root`);
  expect(placesOf(`${folder}2/engine`).socket).not.toBe(socket);
});

test("in /tmp where the folder for temporary files cannot be an address either", () => {
  const { TMPDIR } = process.env;
  try {
    process.env["TMPDIR"] = "/var/odd#tmp";
    expect(placesOf("/srv/a#b/engine").socket).toMatch(/^\/tmp\/image-factory-[0-9a-f]{12}\/buildkitd\.sock$/);
  } finally {
    if (TMPDIR === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = TMPDIR;
  }
});
