import { expect, test } from "vitest";
import { randomOf } from "./rounds.js";

test("a seed repeats a campaign: the same name and seed give the same choices, another name gives others", () => {
  const draw = (name: string, from: number) =>
    Array.from(
      { length: 20 },
      (
        (random) => () =>
          random.below(1000)
      )(randomOf(name, from)),
    );
  expect(draw("damage", 7)).toEqual(draw("damage", 7));
  expect(draw("damage", 7)).not.toEqual(draw("damage", 8));
  expect(draw("damage", 7)).not.toEqual(draw("faults", 7));
});
