import { type Document, isMap, isNode, isPair, isScalar, LineCounter, parseDocument, visit } from "yaml";
import * as z from "zod";
import { checkSpec } from "./validate.js";
import type { Position, Problem } from "../common/error.js";
import { type Lock, lockSchema } from "./lock.js";
import { type Spec, specSchema } from "./spec.js";
import { suggestion } from "../common/suggest.js";

/** Where a path of a YAML text stands; asked for by everyone who finds something wrong with a value. */
export type Locate = (path: readonly PropertyKey[], at?: "key" | "value") => Position;
export type Parsed<T> = { value: T | null; problems: readonly Problem[]; locate: Locate };

/** A text with more problems than this is the wrong file, not a file with problems. */
const most = 50;

/** Reads images.yaml. All problems at once, each with its place. */
export const parseSpec = (text: string, file = "images.yaml"): Parsed<Spec> => {
  const parsed = parseYaml(text, file, specSchema);
  if (parsed.value === null) return parsed;
  const problems = checkSpec(parsed.value).map(({ path, message, hint }) => ({
    position: parsed.locate(path),
    message: `${path.join(".")}: ${message}`,
    ...(hint === undefined ? {} : { hint }),
  }));
  return { ...parsed, value: problems.length === 0 ? parsed.value : null, problems };
};

/** Reads images.lock. */
export const parseLock = (text: string, file = "images.lock"): Parsed<Lock> => parseYaml(text, file, lockSchema);

const parseYaml = <T extends z.ZodType>(text: string, file: string, schema: T): Parsed<z.output<T>> => {
  try {
    return readYaml(text, file, schema);
  } catch (error) {
    // The parser calls itself for every level: the stack's end is the text's fault.
    if (!(error instanceof RangeError)) throw error;
    const position = { file, line: 1, col: 1, excerpt: (text.split("\n", 1)[0] ?? "").slice(0, 200) };
    return { value: null, problems: [{ position, message: "it is nested too deeply" }], locate: () => position };
  }
};

const readYaml = <T extends z.ZodType>(text: string, file: string, schema: T): Parsed<z.output<T>> => {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, merge: true, prettyErrors: false });
  const lines = text.split("\n");
  const position = (offset: number): Position => {
    const { line, col } = counter.linePos(Math.min(offset, text.length));
    return { file, line, col, excerpt: lines[line - 1]?.replace(/\r$/, "") ?? "" };
  };
  const locate: Locate = (path, at = "value") => position(offsetOf(document, path, at));
  const failed = (problems: Problem[]) => ({ value: null, problems: inOrder(problems).slice(0, most), locate });

  const undecoded = text.indexOf("\ufffd");
  if (undecoded >= 0)
    return failed([{ position: position(undecoded), message: "a byte that is not UTF-8", hint: "save the file as UTF-8" }]);
  if (document.errors.length > 0) {
    return failed(document.errors.map((error) => ({ position: position(error.pos[0]), message: plainYaml(error.message) })));
  }
  const unresolved = undefinedAliases(document);
  if (unresolved.length > 0) {
    return failed(
      unresolved.map(({ name, offset }) => ({ position: position(offset), message: `*${name}: no anchor &${name} before it` })),
    );
  }
  const reserved = reservedKeys(document);
  if (reserved.length > 0)
    return failed(
      reserved.map(({ name, offset }) => ({
        position: position(offset),
        message: `${name} cannot be a key here: choose another name`,
      })),
    );
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 1000 });
  } catch (error) {
    if (error instanceof RangeError) throw error;
    return failed([{ position: position(0), message: error instanceof Error ? error.message : String(error) }]);
  }
  const result = schema.safeParse(value ?? {}, { reportInput: true });
  if (result.success) return { value: result.data, problems: [], locate };
  return failed(result.error.issues.flatMap((issue) => problemsOf(issue, [], locate)));
};

/** Names such as `constructor`, which every object of JavaScript has: one that nobody wrote would be found all the same. */
const reservedKeys = (document: Document): { name: string; offset: number }[] => {
  const found: { name: string; offset: number }[] = [];
  visit(document, {
    Pair(_, { key }) {
      if (isScalar(key) && typeof key.value === "string" && key.value in Object.prototype)
        found.push({ name: key.value, offset: key.range?.[0] ?? 0 });
    },
  });
  return found;
};

const inOrder = (problems: Problem[]): Problem[] =>
  problems.sort((a, b) => (a.position?.line ?? 0) - (b.position?.line ?? 0) || (a.position?.col ?? 0) - (b.position?.col ?? 0));

const plainYaml = (message: string): string =>
  message === "Map keys must be unique" ? "this key stands twice in its mapping" : message;

const undefinedAliases = (document: Document): { name: string; offset: number }[] => {
  const found: { name: string; offset: number }[] = [];
  visit(document, {
    Alias(_, node) {
      if (node.resolve(document) === undefined) found.push({ name: node.source, offset: node.range?.[0] ?? 0 });
    },
  });
  return found;
};

/** The offset of a path, or of its nearest ancestor that is there (an anchor's content stands elsewhere). */
const offsetOf = (document: Document, path: readonly PropertyKey[], at: "key" | "value"): number => {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(last));
      const node = at === "key" && length === path.length ? pair?.key : (pair?.value ?? pair?.key);
      if (isNode(node) && node.range) return node.range[0];
    }
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return isNode(document.contents) && document.contents.range ? document.contents.range[0] : 0;
};

const problemsOf = (issue: z.core.$ZodIssue, prefix: readonly PropertyKey[], locate: Locate): Problem[] => {
  const path = [...prefix, ...issue.path];
  const dotted = path.join(".");
  const say = (message: string, hint?: string): Problem => ({
    position: locate(path),
    message: dotted === "" ? message : `${dotted}: ${message}`,
    ...(hint === undefined ? {} : { hint }),
  });
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        position: locate([...path, key], "key"),
        message: `${[...path, key].join(".")}: unknown key`,
        hint: suggestion(key, knownKeys(path)),
      }));
    case "invalid_value":
      if (issue.input === undefined) return [say("missing")];
      return [
        say(
          `${shown(issue.input)} is not one of: ${issue.values.join(", ")}`,
          suggestion(String(issue.input), issue.values.map(String)),
        ),
      ];
    case "invalid_key":
      return issue.issues.map((inner) => ({ position: locate(path, "key"), message: `${dotted}: ${inner.message}` }));
    case "invalid_union": {
      // The alternative that got furthest is the one that was meant.
      const ranked = issue.errors.map((errors) => ({ errors, weight: weightOf(errors) })).sort((a, b) => a.weight - b.weight);
      const best = ranked[0];
      return best === undefined || best.weight >= 1000
        ? [say(`none of the forms that are understood here (got ${kindOf(issue.input)})`)]
        : best.errors.flatMap((inner) => problemsOf(inner, path, locate));
    }
    case "invalid_type":
      return issue.input === undefined
        ? [say("missing")]
        : [say(`expected ${words[issue.expected] ?? issue.expected}, got ${kindOf(issue.input)}`)];
    case "too_small":
      return [say(issue.origin === "array" ? "must not be empty" : `must be at least ${issue.minimum}`)];
    case "too_big":
      return [say(`must be at most ${issue.maximum}`)];
    default:
      return [say(`${shown(issue.input)}: ${issue.message}`)];
  }
};

const words: Readonly<Record<string, string>> = {
  record: "a mapping",
  object: "a mapping",
  array: "a list",
  string: "text",
  int: "a whole number",
  number: "a number",
};
const weightOf = (errors: readonly z.core.$ZodIssue[]): number =>
  errors.reduce((sum, error) => sum + (error.code === "invalid_type" && error.path.length === 0 ? 1000 : 1), 0);
const kindOf = (value: unknown): string => {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  return shown(value);
};
const shown = (value: unknown): string =>
  typeof value === "string" ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));

/** The keys that a mapping at this path may hold, for did-you-mean. */
const knownKeys = (path: readonly PropertyKey[]): string[] => {
  let schema: z.core.$ZodType | undefined = specSchema;
  for (const part of path) schema = schema === undefined ? undefined : childOf(bare(schema), part);
  const at = schema === undefined ? undefined : bare(schema);
  return at === undefined ? [] : shapesOf(at).flatMap((object) => Object.keys(object.shape));
};
const bare = (schema: z.core.$ZodType): z.core.$ZodType =>
  schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? bare(schema.def.innerType) : schema;
const shapesOf = (schema: z.core.$ZodType): z.ZodObject[] => {
  if (schema instanceof z.ZodObject) return [schema];
  return schema instanceof z.ZodUnion
    ? schema.options.map((option) => bare(option)).filter((option): option is z.ZodObject => option instanceof z.ZodObject)
    : [];
};
const childOf = (schema: z.core.$ZodType, part: PropertyKey): z.core.$ZodType | undefined => {
  if (schema instanceof z.ZodRecord) return schema.def.valueType;
  if (schema instanceof z.ZodArray) return schema.def.element;
  if (schema instanceof z.ZodUnion)
    return schema.options.map((option) => childOf(bare(option), part)).find((found) => found !== undefined);
  return shapesOf(schema)[0]?.shape[String(part)];
};
