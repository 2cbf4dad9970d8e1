import { taskWording } from "../../../../ci/cli/fix-words.js";
import { expect, test } from "vitest";
import * as z from "zod";
import { clean } from "../../../../ci/view/line.js";
import { problemText } from "../../../../ci/view/problem.js";
import { FactoryError } from "../../../../dagger/src/pipeline/common/error.js";
import { lockSchema } from "../../../../dagger/src/pipeline/config/lock.js";
import { parseSpec } from "../../../../dagger/src/pipeline/config/parse.js";
import { visible } from "../../../../dagger/src/pipeline/common/printable.js";
import { specSchema } from "../../../../dagger/src/pipeline/config/spec.js";

/** One of each kind, as code points: none of them may stand in this file. */
const hostile = [0x00, 0x07, 0x08, 0x0d, 0x1b, 0x1f, 0x7f, 0x85, 0x9b, 0x200e, 0x2028, 0x2029, 0x202e, 0x2066, 0xd800];
const inLinesOnly = [0x09, 0x0a];
const between = (code: number): string => `a${String.fromCharCode(code)}b`;

type Field = { path: string; schema: z.ZodType };

/** Every text that a schema takes, whatever it stands in: keys, lists, alternatives, defaults and what is changed afterwards. */
const textsOf = (schema: z.core.$ZodType, path = ""): Field[] => {
  if (schema instanceof z.ZodString || schema instanceof z.ZodStringFormat) return [{ path, schema: schema as z.ZodType }];
  if (schema instanceof z.ZodObject)
    return Object.entries(schema.shape as Record<string, z.core.$ZodType>).flatMap(([key, value]) =>
      textsOf(value, `${path}.${key}`),
    );
  if (schema instanceof z.ZodRecord)
    return [...textsOf(schema.def.keyType, `${path}.(key)`), ...textsOf(schema.def.valueType, `${path}.*`)];
  if (schema instanceof z.ZodArray) return textsOf(schema.def.element, `${path}[]`);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option, at) => textsOf(option, `${path}|${at}`));
  if (schema instanceof z.ZodPipe) return [...textsOf(schema.def.in, path), ...textsOf(schema.def.out, path)];
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodNullable)
    return textsOf(schema.def.innerType, path);
  if (
    schema instanceof z.ZodEnum ||
    schema instanceof z.ZodLiteral ||
    schema instanceof z.ZodNumber ||
    schema instanceof z.ZodBoolean ||
    schema instanceof z.ZodTransform
  )
    return [];
  throw new Error(`${path}: the walk does not know ${schema.constructor.name}`);
};

const fields = [...textsOf(specSchema, "images.yaml"), ...textsOf(lockSchema, "images.lock")];
/** The fields of several lines, and no other. */
const ofLines = /\.run(?:\|\d)?\[\]\|0$|\.command$|\.files\.\*\|0$|\.content$|\.summary$/;

test("the walk finds the fields that it is for", () => {
  const paths = fields.map(({ path }) => path);
  expect(paths.length).toBeGreaterThan(200);
  for (const end of [".env.*", ".env.(key)", ".labels.(key)", ".run[]|0", ".home", ".url", ".repository", ".image", ".cmd[]"])
    expect(
      paths.filter((path) => path.endsWith(end)),
      end,
    ).not.toEqual([]);
});

test.each(fields)("$path holds no control characters", ({ path, schema }) => {
  const several = ofLines.test(path);
  for (const code of several ? hostile : [...hostile, ...inLinesOnly]) {
    const result = schema.safeParse(between(code));
    expect(result.success, `U+${code.toString(16)}`).toBe(false);
    if (!path.endsWith(".epoch"))
      expect(result.error?.issues.map(({ message }) => message)).toEqual([expect.stringMatching(/without control characters/)]);
  }
  if (several) for (const code of inLinesOnly) expect(schema.safeParse(between(code)).success).toBe(true);
});

test("a problem has its place, and quotes nothing that a terminal obeys", () => {
  const text = `registry: "a\\u001b[2Jb"\nimages: {}\n`;
  const [problem] = parseSpec(text).problems;
  expect(problem).toMatchObject({ position: { file: "images.yaml", line: 1, col: 11 } });
  expect(problem?.message).toContain("found U+001B");
});

test("an error shows what it quotes without control characters: what, why, fix, places, stacks and JSON", () => {
  const every = hostile.map(between).join(" ");
  const position = { file: every, line: 1, col: 1, excerpt: every };
  const cause = new Error(every);
  const errors = [
    new FactoryError("USAGE", { what: every, why: every, fix: every, cause }),
    new FactoryError("CONFIG_INVALID", {
      what: every,
      why: every,
      fix: every,
      problems: [{ position, message: every, hint: every }],
    }),
    cause,
    every,
  ];
  for (const error of errors)
    for (const json of [false, true]) {
      const said = problemText(error, { colour: false, json, verbose: true, wording: taskWording });
      expect(said.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cs}\u200e\u2028\u2029\u202e\u2066]/u);
      expect(said).toContain("a\\u001bb");
    }
});

test("a JSON text stays the same value", () => {
  const value = { text: [...hostile, ...inLinesOnly].map(between), "k\u0085": "\\u0085" };
  const text = JSON.stringify(value, null, 2);
  expect(JSON.parse(visible(text, "lines"))).toEqual(value);
});

test("a line of progress holds nothing that a terminal obeys", () => {
  for (const code of hostile.filter((code) => code !== 0x0d)) expect(clean(between(code))).toMatch(/^a ?b$/);
});

test("an account has no field that a colon would end", () => {
  for (const key of ["home", "shell"]) {
    const images = `images:\n  x:\n    stages:\n      runtime:\n        user: { name: x, uid: 5, ${key}: "/a:0" }\n`;
    const found = parseSpec(images).problems.filter(({ message }) => message.includes(`user.${key}`));
    expect(found).toMatchObject([{ position: { line: 5 } }]);
  }
});
