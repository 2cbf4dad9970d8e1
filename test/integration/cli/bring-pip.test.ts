import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

/** How `./task` and the lock get pip where python3 has none: only the wheel that builder/host-tools.txt pins. */
const builder = fileURLToPath(new URL("../../../builder/", import.meta.url));
const pin = /^pip==\S+ \\\n +--hash=sha256:(\w+)$/m.exec(readFileSync(join(builder, "host-tools.txt"), "utf8"))?.[1];

test.each([
  ["an index without it", "", /has no pip with the sha256/],
  ["other bytes under its hash", `<a href="../../files/a%20b.whl?x=1&amp;y=2#sha256=${pin}">pip</a>`, /another pip than/],
])("%s is refused", async (_, links, said) => {
  const asked: string[] = [];
  const index = createServer(({ url = "" }, answer) => {
    asked.push(url);
    answer.end(url === "/root/simple/pip/" ? links : "a wheel");
  }).listen(0, "127.0.0.1");
  await once(index, "listening");
  const folder = mkdtempSync(join(tmpdir(), "bring-pip-"));
  const wheel = join(folder, "pip.whl");
  const env = {
    ...process.env,
    PIP_INDEX_URL: `http://127.0.0.1:${(index.address() as AddressInfo).port}/root/simple/`,
    no_proxy: "*",
  };
  try {
    const brought = promisify(execFile)("python3", [join(builder, "bring-pip.py"), wheel], { env });
    await expect(brought).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(said) as string });
    expect(existsSync(wheel)).toBe(false);
    expect(asked).toEqual(["/root/simple/pip/", ...(links === "" ? [] : ["/root/files/a%20b.whl?x=1&y=2"])]);
  } finally {
    index.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
