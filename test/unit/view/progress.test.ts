import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BuildEvent } from "../../../dagger/src/pipeline/common/build-event.js";
import { rawjsonReader } from "../../../ci/engines/buildkit/rawjson.js";
import { clean, clip, columns, duration } from "../../../ci/view/line.js";
import { live } from "../../../ci/view/live.js";
import { advance, noProgress, plain, plainTick, type Progress } from "../../../ci/view/progress.js";

const events = (name: string): BuildEvent[] => {
  const reader = rawjsonReader({ stage: "dependencies" });
  const text = readFileSync(new URL(`../../fixtures/rawjson/${name}.jsonl`, import.meta.url), "utf8");
  return text.split("\n").flatMap((line) => reader.take(line));
};
const options = { colour: false, verbose: false, starts: true };
const tell = (list: readonly BuildEvent[], how = options) => {
  let progress: Progress = noProgress;
  const lines: string[] = [];
  for (const event of list) {
    const told = plain(event, progress, how);
    progress = told.progress;
    lines.push(...told.lines);
  }
  return { progress, lines, text: lines.join("\n") };
};

const started = (step: string, at: number, name: string): BuildEvent => ({
  type: "step-started",
  at,
  step,
  name,
  stage: "dependencies",
});
const ended = (step: string, at: number, more: { cached?: boolean; error?: string } = {}): BuildEvent => ({
  type: "step-ended",
  at,
  step,
  cached: false,
  ...more,
});
const says = (step: string, at: number, text: string): BuildEvent => ({
  type: "step-output",
  at,
  step,
  stream: "stdout",
  text,
});

describe("plain lines", () => {
  test.each(["cold", "cached", "failed"])("of a recorded build: %s", async (name) => {
    // Seconds differ from machine to machine, but not in a recording.
    await expect(`${tell(events(name)).text}\n`).toMatchFileSnapshot(`../../fixtures/rawjson/${name}.txt`);
  });

  test("a short step gets one line, a long one is announced", () => {
    const { lines } = tell([
      started("a", 0, "RUN quick"),
      ended("a", 400),
      started("b", 500, "RUN slow"),
      says("b", 2_000, "x\n"),
      started("c", 4_000, "RUN other"),
      ended("b", 5_000),
      ended("c", 5_100),
    ]);
    expect(lines).toEqual(
      [
        "#1 [dependencies] RUN quick … done 0.4s",
        "#2 [dependencies] RUN slow",
        "#2 [dependencies] RUN slow … done 4.5s",
        "#3 [dependencies] RUN other",
        "#3 [dependencies] RUN other … done 1.1s",
      ].sort((a, b) => lines.indexOf(a) - lines.indexOf(b)),
    );
  });

  test("a silent step is announced once by the tick", () => {
    const { progress } = tell([started("a", 0, "RUN silent")]);
    const first = plainTick(5_000, progress, options);
    expect(first.lines).toEqual(["#1 [dependencies] RUN silent"]);
    expect(plainTick(6_000, first.progress, options).lines).toEqual([]);
  });

  test("output is shown when the step fails, or when asked for", () => {
    const list = [
      started("a", 0, "RUN x"),
      says("a", 1, "one\ntw"),
      says("a", 2, "o\nthree"),
      ended("a", 3, { error: "exit code: 1" }),
    ];
    expect(tell(list).lines).toEqual([
      "#1 | one",
      "#1 | two",
      "#1 | three",
      "#1 [dependencies] RUN x … FAILED 0.0s: exit code: 1",
    ]);
    expect(tell(list, { ...options, verbose: true }).lines.slice(0, 2)).toEqual(["#1 | one", "#1 | two"]);
    expect(tell([...list.slice(0, 3), ended("a", 3)]).text).not.toContain("two");
  });

  test("a step that runs in several intervals took their sum", () => {
    const { progress } = tell([started("a", 0, "RUN x"), ended("a", 100), started("a", 5_000, "RUN x"), ended("a", 5_300)]);
    expect(progress.steps.get("a")?.spent).toBe(400);
  });

  test("stages and warnings have lines of their own", () => {
    const digest = `sha256:${"a".repeat(64)}`;
    const list: BuildEvent[] = [
      { type: "stage-started", at: 0, stage: "dependencies", platform: "linux/arm64" },
      { type: "warning", at: 1, text: "old" },
      { type: "stage-ended", at: 65_000, stage: "dependencies", platform: "linux/arm64", digest },
    ];
    expect(tell(list).lines).toEqual([
      "[dependencies] linux/arm64",
      "warning: old",
      "[dependencies] done 1m05s sha256:aaaaaaaaaaaa",
    ]);
  });
});

describe("a live frame", () => {
  const frame = { width: 60, height: 24, now: 10_000, colour: false };

  test("shows what runs, for how long, and its newest word", () => {
    const { progress } = tell([
      started("a", 0, "RUN done"),
      ended("a", 10, { cached: true }),
      started("b", 4_000, "RUN pip install --no-cache-dir something long that does not fit"),
      says("b", 5_000, "Collecting x\nCollecting y\rCollecting z"),
      started("c", 9_000, "exporting to oci image format"),
      { type: "step-progress", at: 9_500, step: "c", what: "pushing layers", current: 3, total: 4 },
    ]);
    expect(live(progress, frame)).toEqual([
      " [dependencies] RUN pip install --no-cache-dir someth… 6.0s",
      "   Collecting z",
      " [dependencies] exporting to oci image format          1.0s",
      "   pushing layers 75%",
      " 1 step finished, 1 of them cached",
    ]);
  });

  test("never leaves its width or height, whatever the output holds", () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.constantFrom("\u001b[31mred\u001b[0m", "日本語テキスト", "a\rb", "\u001b]0;title\u0007"),
    );
    const sizes = {
      width: fc.integer({ min: 20, max: 120 }),
      height: fc.integer({ min: 3, max: 30 }),
    };
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 30 }), fc.record(sizes), (steps, { width, height }) => {
        const list = steps.flatMap(([name, output], index) => [
          started(`${index}`, index, name),
          says(`${index}`, index, output),
        ]);
        const lines = live(list.reduce(advance, noProgress), {
          width,
          height,
          now: 10_000,
          colour: false,
        });
        expect(Math.max(...lines.map(columns))).toBeLessThan(width);
        expect(lines.length).toBeLessThanOrEqual(height);
        expect(lines.join("")).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  test("colour adds sequences and changes no text", () => {
    const { progress } = tell(events("failed").slice(0, 40));
    const coloured = live(progress, { ...frame, colour: true });
    expect(coloured.join("\n")).toContain("\u001b[");
    expect(coloured.map((line) => clean(line))).toEqual(live(progress, frame).map((line) => clean(line)));
  });
});

test("words of time and width", () => {
  expect([0, 49, 59_940, 59_960, 125_000, 3_599_600, 3_725_000].map(duration)).toEqual([
    "0.0s",
    "0.0s",
    "59.9s",
    "1m00s",
    "2m05s",
    "1h00m",
    "1h02m",
  ]);
  expect([clip("abcdef", 4), clip("abc", 3), clip("日本語", 5), clip("x", 0)]).toEqual(["abc…", "abc", "日本…", ""]);
});
