import { array, assert, double, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { added, median, pairByPair, spread } from "../../../bench/interleave.js";

const times = array(double({ min: 0.1, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 });

describe("the figures of an interleaved run", () => {
  test("the median is the middle value, or the mean of the middle two", () => {
    expect(median([30, 10, 20])).toBe(20);
    expect(median([40, 10, 20, 30])).toBe(25);
    expect(median([])).toBeNaN();
  });

  test("half of the values lie on each side of the median, in whatever order they come", () => {
    assert(
      property(times, (values) => {
        const middle = median(values);
        expect(values.filter((value) => value <= middle).length).toBeGreaterThanOrEqual(values.length / 2);
        expect(values.filter((value) => value >= middle).length).toBeGreaterThanOrEqual(values.length / 2);
        expect(median(values.toReversed())).toBe(middle);
      }),
    );
  });

  test("a machine that gets slower for both sides moves no ratio", () => {
    expect(pairByPair([200, 400, 800], [100, 200, 400])).toEqual({ median: 2, min: 2, max: 2 });
    assert(
      property(times, array(double({ min: 0.5, max: 8, noNaN: true }), { minLength: 40, maxLength: 40 }), (ours, load) => {
        const slowed = ours.map((value, round) => value * load[round]!);
        const theirs = load.slice(0, ours.length);
        const ratio = pairByPair(slowed, theirs);
        expect(ratio.median).toBeCloseTo(spread(ours).median, 4);
        expect(ratio.max).toBeCloseTo(spread(ours).max, 4);
      }),
    );
  });

  test("only whole pairs are compared, and sums are made round by round", () => {
    expect(pairByPair([10, 20, 30], [10, 10])).toEqual({ median: 1.5, min: 1, max: 2 });
    expect(added([1, 2, 3], [10, 20, 30])).toEqual([11, 22, 33]);
  });
});
