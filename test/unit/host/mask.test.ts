import { describe, expect, test } from "vitest";
import { maskOf, masking } from "../../../ci/host/mask.js";
import { rawjsonReader } from "../../../ci/engines/buildkit/rawjson.js";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";

const secret = (value: string) => ({ id: "one", env: "ONE", value });

describe("a secret is struck out of text", () => {
  const value = "s3cr3t/with+plus é'x\"";
  const mask = maskOf([secret(value)]);
  test.each([
    ["as it is", value],
    ["in JSON", JSON.stringify({ value })],
    ["in an address", encodeURIComponent(value)],
    ["in hexadecimal", Buffer.from(value).toString("hex")],
    ["in base64", Buffer.from(value).toString("base64")],
    ["in base64 behind a user", Buffer.from(`user:${value}`).toString("base64")],
    ["in base64 between others", Buffer.from(`ab${value}cd`).toString("base64")],
    ["in base64 for addresses", Buffer.from(value).toString("base64url")],
    ["by a shell that prints its commands", `+ echo '${value.replaceAll("'", "'\\''")}'`],
  ])("%s", (_, printed) => {
    const shown = mask.text(`before ${printed} after`);
    expect(shown).toMatch(/^before .*\*\*\*.* after$/);
    // Of base64 two characters at either end also depend on what stands beside the value.
    expect(shown.length).toBeLessThan("before  after".length + 20);
  });

  test("each line of a value of several lines", () => {
    const key = "-----BEGIN-----\nabcdefgh\r\nijklmnop\n-----END-----\n";
    expect(maskOf([secret(key)]).text("1 abcdefgh\n2 ijklmnop")).toBe("1 ***\n2 ***");
  });

  test("the password of an address alone", () => {
    const mask = maskOf([secret("http://user:p%40ssword@proxy:3128")]);
    expect(mask.text("login p%40ssword or p@ssword")).toBe("login *** or ***");
  });

  test("values that overlap leave no part", () => {
    const mask = maskOf([secret("abcdef"), secret("defghi"), secret("abcd")]);
    expect(mask.text("xabcdefghix")).toBe("x***x");
  });
});

test("a secret is struck out wherever the pieces of a stream end", () => {
  const mask = maskOf([secret("abcdabce"), secret("dabcef"), secret("line-one\nline-two")]);
  const text = "1 abcdabcef 2 abcdabc 3 line-one\nline-two abcdab";
  for (let first = 0; first <= text.length; first++)
    for (let second = first; second <= text.length; second++) {
      const stream = mask.stream();
      const pieces = [text.slice(0, first), text.slice(first, second), text.slice(second)];
      expect(pieces.map((piece) => stream.take(piece)).join("") + stream.end()).toBe(mask.text(text));
    }
});

test("what is no secret is not held back", () => {
  const stream = maskOf([secret("abcd")]).stream();
  expect(stream.take("hello\n")).toBe("hello\n");
});

test("an engine's log, last words and errors hold no secret", async () => {
  const mask = maskOf([secret("abcdefgh")]);
  const reader = rawjsonReader({ stage: "dependencies", mask });
  const log = (text: string) =>
    JSON.stringify({ logs: [{ vertex: "sha256:1", stream: 1, data: Buffer.from(text).toString("base64") }] });
  const events = [
    ...reader.take(JSON.stringify({ vertexes: [{ digest: "sha256:1", name: "RUN x", started: "2026-01-01T00:00:00Z" }] })),
    ...reader.take(log("it is abcd")),
    ...reader.take(log("efgh and abcdef")),
    ...reader.take(
      JSON.stringify({
        vertexes: [
          { digest: "sha256:1", name: "RUN x", started: "2026-01-01T00:00:00Z", completed: "2026-01-01T00:00:01Z", error: "no" },
        ],
      }),
    ),
    ...reader.end(),
  ];
  const said = events.flatMap((event) => (event.type === "step-output" ? [event.text] : [])).join("");
  expect(said).toBe("it is *** and abcdef");
  expect(reader.failure()?.tail).toEqual(["it is *** and abcdef"]);
  const failing = masking(
    mask,
    () => undefined,
    () => Promise.reject(new FactoryError("STEP_FAILED", { what: "a abcdefgh", why: "b abcdefgh", fix: "c" })),
  );
  await expect(failing).rejects.toMatchObject({ message: "STEP_FAILED: a ***: b ***" });
});
