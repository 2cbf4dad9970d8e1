import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BuildEvent } from "../../../../dagger/src/pipeline/common/build-event.js";
import { rawjsonReader } from "../../../../ci/engines/buildkit/rawjson.js";

const recorded = (name: string): string[] =>
  readFileSync(new URL(`../../../fixtures/rawjson/${name}.jsonl`, import.meta.url), "utf8").split("\n");

const read = (lines: readonly string[], stage: "base-tools" | "dependencies" = "dependencies") => {
  const reader = rawjsonReader({ stage });
  const events = lines.flatMap((line) => reader.take(line));
  return { events, reader };
};
const of = <T extends BuildEvent["type"]>(type: T, events: readonly BuildEvent[]) =>
  events.filter((event): event is Extract<BuildEvent, { type: T }> => event.type === type);

describe("a recorded build", () => {
  const { events, reader } = read(recorded("cold"));

  test("names steps by what they do, and the stage that they work for", () => {
    const named = of("step-started", events).map(({ stage, name }) => `${stage} | ${name.split("\n")[0]}`);
    expect(named).toContain(
      'base-tools | RUN echo héllo wörld; echo "fetched 10 packages" >&2; /bin/busybox sleep 0.3; echo base > /tools',
    );
    expect(named).toContain("dependencies | requirements: RUN /bin/busybox grep -v '^#' /in/a > /wanted");
    expect(named).toContain("dependencies | COPY --from=requirements /wanted /wanted");
    expect(named).toContain("dependencies | exporting to oci image format");
  });

  test("ends every step that it starts, after its start", () => {
    const open = new Map<string, number>();
    for (const event of events) {
      if (event.type === "step-started") {
        expect(open.has(event.step)).toBe(false);
        open.set(event.step, event.at);
      }
      if (event.type === "step-ended") {
        expect(event.at).toBeGreaterThanOrEqual(open.get(event.step) ?? Number.POSITIVE_INFINITY);
        open.delete(event.step);
      }
    }
    expect([...open.keys()]).toEqual([]);
    expect(of("step-ended", events).filter((event) => event.error !== undefined)).toEqual([]);
  });

  test("carries output and export progress", () => {
    const output = of("step-output", events).map(({ stream, text }) => `${stream}: ${text}`);
    expect(output).toContain("stdout: héllo wörld\n");
    expect(output).toContain("stderr: fetched 10 packages\n");
    expect(of("step-progress", events).map((event) => event.what)).toContain(
      "rewriting layers with source-date-epoch 315619200 (1980-01-02 00:00:00 +0000 UTC)",
    );
  });

  test("passes warnings on in words", () => {
    expect(of("warning", events).map((event) => event.text)).toEqual([
      "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 8)\nThe 'as' keyword should match the case of the 'from' keyword",
    ]);
  });

  test("has no failure, and keeps what is no progress", () => {
    expect(reader.failure()).toBeNull();
    expect(reader.stray()).toEqual([expect.stringContaining("level=warning")]);
  });
});

test("a step that did not run is cached", () => {
  const { events } = read(recorded("cached"));
  const names = new Map(of("step-started", events).map((event) => [event.step, event.name]));
  const cached = of("step-ended", events).filter((event) => event.cached);
  expect(cached.map((event) => names.get(event.step)?.split(" ")[0]).sort()).toEqual([
    "COPY",
    "RUN",
    "RUN",
    "base:",
    "requirements:",
  ]);
});

test("a failure is the step that failed, not those that stopped with it", () => {
  const { events, reader } = read(recorded("failed"));
  expect(reader.failure()).toMatchObject({
    name: expect.stringMatching(/^broken: RUN for i in/) as string,
    error: expect.stringMatching(/did not complete successfully: exit code: 100$/) as string,
  });
  expect(reader.failure()?.tail).toHaveLength(20);
  expect(reader.failure()?.tail.join("\n")).toContain("E: Unable to locate package nosuch");
  expect(of("step-ended", events).filter((event) => event.error !== undefined).length).toBeGreaterThan(1);
  expect(reader.stray().at(-1)).toMatch(/^error: failed to solve: /);
});

test("a Dockerfile that cannot be read leaves its words", () => {
  const { reader } = read(recorded("unreadable"));
  expect(reader.stray().at(-1)).toBe("error: failed to solve: dockerfile parse error on line 1: unknown instruction: NOSUCH");
});

describe("laws", () => {
  test.each(["cold", "cached", "failed"])("a vertex that is reported again starts and ends nothing again: %s", (name) => {
    type Line = { vertexes?: { digest: string }[]; statuses?: unknown };
    const once = recorded(name).filter((line) => {
      // Two intervals of one vertex in one line are two starts, also when the line comes twice.
      const { vertexes = [], statuses } = line.startsWith("{") ? (JSON.parse(line) as Line) : {};
      return statuses === undefined && vertexes.length > 0 && new Set(vertexes.map((one) => one.digest)).size === vertexes.length;
    });
    expect(once.length).toBeGreaterThan(3);
    expect(read(once.flatMap((line) => [line, line])).events).toEqual(read(once).events);
  });

  test("the bytes of a text arrive whole, wherever chunks end", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), fc.array(fc.nat(200)), (text, cuts) => {
        const bytes = Buffer.from(text);
        const places = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
        const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
        const lines = chunks.map((chunk) =>
          JSON.stringify({
            logs: [{ vertex: "sha256:a", stream: 1, data: chunk.toString("base64") }],
          }),
        );
        expect(
          of("step-output", read(lines).events)
            .map((event) => event.text)
            .join(""),
        ).toBe(text);
      }),
    );
  });

  test("lines that are no progress are kept and never thrown at", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (lines) => {
        const { events, reader } = read(lines.map((line) => `!${line}`));
        expect(events).toEqual([]);
        expect(reader.stray()).toEqual(lines.map((line) => `!${line}`));
      }),
    );
    expect(read(['{"vertexes":[{"digest"']).reader.stray()).toHaveLength(1);
  });
});
