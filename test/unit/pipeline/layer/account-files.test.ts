import { describe, expect, test } from "vitest";
import { assembleLayer } from "../../../../dagger/src/pipeline/layer/plan-layer.js";
import type { Step } from "../../../../dagger/src/pipeline/steps/step.js";
import { accounts, assemble, base, lines, sizes, user } from "./layer-base.js";

describe("a user", () => {
  const added = (step: Step) =>
    Object.fromEntries(
      assemble(step).entries.flatMap((one) =>
        one.type === "file" && "text" in one.content ? [[`${one.path} ${one.mode} ${one.uid}:${one.gid}`, one.content.text]] : [],
      ),
    );

  test("adds its lines at the end, keeps the files' modes, and makes files that are absent", () => {
    expect(added(user({ subordinate: { start: 100_000, count: 65_536 } }))).toEqual({
      "/etc/passwd 644 0:0": `${accounts["/etc/passwd"]}me:x:1001:0::/home/me:/bin/bash\n`,
      "/etc/shadow 640 0:42": `${accounts["/etc/shadow"]}me:!:3652::::::\n`,
      "/etc/subuid 644 0:0": "me:100000:65536\n",
      "/etc/subgid 644 0:0": "me:100000:65536\n",
    });
  });

  test("with a group of its own", () => {
    expect(Object.keys(added(user({ gid: 1001 })))).toEqual([
      "/etc/group 644 0:0",
      "/etc/gshadow 644 0:0",
      "/etc/passwd 644 0:0",
      "/etc/shadow 640 0:42",
    ]);
  });

  test("gets a home that its group can write", () => {
    expect(lines(assemble(user()).entries)).toContain("directory 775 1001:0 /home/me");
  });

  test.each([
    [{ name: "daemon" }, "name"],
    [{ uid: 1 }, "uid"],
    [{ name: "users", gid: 1001 }, "name"],
    [{ gid: 100 }, "gid"],
  ])("%j clashes", (change, words) => {
    expect(() => assemble(user(change))).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(() => assemble(user(change))).toThrow(words);
  });

  test("an account file whose last line has no end", () => {
    const open = { ...base, accounts: { "/etc/passwd": { text: "root:x:0:0::/:/bin/sh", mode: "644", uid: 0, gid: 0 } } };
    const passwd = assembleLayer([user()], open, sizes).entries.find(({ path }) => path === "/etc/passwd");
    expect(passwd).toMatchObject({ content: { text: "root:x:0:0::/:/bin/sh\nme:x:1001:0::/home/me:/bin/bash\n" } });
  });

  test("the second user sees the first, in the same stage and in the next", () => {
    expect(() => assemble(user(), user({ name: "other" }))).toThrow("1001");
    expect(() => assembleLayer([user({ name: "other" })], assemble(user()).next, sizes)).toThrow("gives that uid to me");
  });
});
