/** One item of an expression; `set` is the source of a JavaScript expression for one character. */
export type Item =
  | { kind: "one"; set: string }
  | { kind: "many"; set: string }
  // `(.*/)?`: any folders, or none.
  | { kind: "folders" }
  | { kind: "assert"; that: "start" | "end" | "word" | "no-word" }
  | { kind: "or" };

/** Go's classes for `\d` and its like; outside and inside brackets. Go's \s is narrower than JavaScript's. */
const classEscapes: Readonly<Record<string, string>> = {
  d: "0-9",
  D: "\\0-/:-\\u{10ffff}",
  w: "0-9A-Z_a-z",
  W: "\\0-/:-@\\[-\\^`\\{-\\u{10ffff}",
  s: "\\t\\n\\f\\r ",
  S: "\\0-\\x08\\x0b\\x0e-\\x1f!-\\u{10ffff}",
};
const controlEscapes: Readonly<Record<string, string>> = {
  a: "\x07",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};
const anchors: Readonly<Record<string, "start" | "end" | "word" | "no-word">> = {
  "^": "start",
  $: "end",
  A: "start",
  z: "end",
  b: "word",
  B: "no-word",
};

/** One character that stands for itself, inside brackets and outside. */
export const literal = (char: string) => (/^[\w/ ]$/.test(char) ? char : `\\u{${char.codePointAt(0)?.toString(16)}}`);

/** The character that Go reads for a backslash and `char`, or null where Go refuses or knows a form that we do not carry over. */
const escaped = (char: string): string | null =>
  controlEscapes[char] ?? (/^[^0-9A-Za-z\u0080-\u{10ffff}]$/u.test(char) ? char : null);

const cannotEscape = (char: string) =>
  `a backslash before ${char}: BuildKit reads it as part of a regular expression, not as ${char}`;

// Go's regular expressions (RE2 syntax), as far as an ignore pattern can hold one: `*` stands behind `.` and brackets only, and the only
// group is `(.*/)?`. Named classes, octal and hexadecimal escapes, \p and \Q are refused: nobody means them in an ignore file.
export function itemsOf(go: string): Item[] | { problem: string } {
  const chars = [...go];
  const named = chars.findLastIndex((char, at) => char === ":" && chars[at + 1] === "]");
  const items: Item[] = [];
  const one = (set: string) => void items.push({ kind: "one", set });
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? "";
    if (char === "\\") {
      const next = chars[++at] ?? "";
      if (at === chars.length - 1) return { problem: "a backslash at the end has nothing to escape" };
      const set = Object.hasOwn(classEscapes, next) ? classEscapes[next] : undefined;
      const itself = escaped(next);
      if (set !== undefined) one(`[${set}]`);
      else if (/^[AzbB]$/.test(next)) items.push({ kind: "assert", that: anchors[next]! });
      else if (itself !== null) one(literal(itself));
      else return { problem: cannotEscape(next) };
    } else if (char === "[") {
      const set = bracket(chars, at + 1, named);
      if ("problem" in set) return set;
      one(set.text);
      at = set.end;
    } else if (char === "(") {
      items.push({ kind: "folders" });
      at += "(.*/)?".length - 1;
    } else if (char === "*") {
      const last = items.pop();
      if (last?.kind === "one") items.push({ kind: "many", set: last.set });
    } else if (char === "{" && isRepetition(chars, at)) {
      return { problem: "a number in braces: BuildKit reads it as a repetition" };
    } else if (char === "|") {
      items.push({ kind: "or" });
    } else if (char === "^" || char === "$") {
      items.push({ kind: "assert", that: anchors[char]! });
    } else one(char === "." ? "[^\\n]" : literal(char));
  }
  return items;
}

/** `{2}`, `{2,}`, `{2,3}`. */
const isRepetition = (chars: readonly string[], start: number): boolean => {
  const digits = (from: number) => {
    let at = from;
    while (/^\d$/.test(chars[at] ?? "")) at++;
    return at;
  };
  const first = digits(start + 1);
  const last = chars[first] === "," ? digits(first + 1) : first;
  return first > start + 1 && chars[last] === "}";
};

/** A bracket expression from behind its `[`; `end` is the place of its `]`, `named` that of the last `:]`. */
function bracket(chars: readonly string[], start: number, named: number): { text: string; end: number } | { problem: string } {
  let at = start;
  let text = "[";
  let refused = "";
  const one = (): string | null => {
    const char = chars[at++] ?? "";
    if (char !== "\\") return char;
    refused = chars[at++] ?? "";
    return escaped(refused);
  };
  if (chars[at] === "^") {
    at++;
    text += "^";
  }
  for (let first = true; chars[at] !== "]" || first; first = false) {
    if (at >= chars.length) return { problem: "a [ without its ]" };
    if (chars[at] === "[" && chars[at + 1] === ":" && named >= at + 2)
      return { problem: "a named class such as [:alpha:]: write the characters themselves" };
    const next = chars[at + 1] ?? "";
    const set = chars[at] === "\\" && Object.hasOwn(classEscapes, next) ? classEscapes[next] : undefined;
    if (set !== undefined) {
      text += set;
      at += 2;
      continue;
    }
    const low = one();
    let high = low;
    if (low !== null && chars[at] === "-" && at + 1 < chars.length && chars[at + 1] !== "]") {
      at++;
      high = one();
    }
    if (low === null || high === null) return { problem: cannotEscape(refused) };
    if ((low.codePointAt(0) ?? 0) > (high.codePointAt(0) ?? 0)) return { problem: `the range ${low}-${high} runs backwards` };
    text += low === high ? literal(low) : `${literal(low)}-${literal(high)}`;
  }
  return { text: `${text}]`, end: at };
}
