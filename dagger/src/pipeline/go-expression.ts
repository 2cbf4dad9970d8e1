type Source = { text: string } | { problem: string };

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
const anchorEscapes: Readonly<Record<string, string>> = { A: "^", z: "$", b: "\\b", B: "\\B" };

/** One character that stands for itself, inside brackets and outside. */
export const literal = (char: string) => (/^[\w/ ]$/.test(char) ? char : `\\u{${char.codePointAt(0)?.toString(16)}}`);

/** The character that Go reads for a backslash and `char`, or null where Go refuses or knows a form that we do not carry over. */
const escaped = (char: string): string | null =>
  controlEscapes[char] ?? (/^[^0-9A-Za-z\u0080-\u{10ffff}]$/u.test(char) ? char : null);

const cannotEscape = (char: string) =>
  `a backslash before ${char}: BuildKit reads it as part of a regular expression, not as ${char}`;

/**
 * Go's regular expressions (RE2 syntax), as far as an ignore pattern can hold one, for JavaScript's `u` flag.
 * Named classes, octal and hexadecimal escapes, \p and \Q are refused: nobody means them in an ignore file.
 */
export function javaScriptExpression(go: string): Source {
  const chars = [...go];
  let text = "";
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? "";
    if (char === "\\") {
      const next = chars[++at] ?? "";
      if (at === chars.length - 1) return { problem: "a backslash at the end has nothing to escape" };
      const set = classEscapes[next];
      const one = escaped(next);
      if (set !== undefined) text += `[${set}]`;
      else if (anchorEscapes[next] !== undefined) text += anchorEscapes[next];
      else if (one !== null) text += literal(one);
      else return { problem: cannotEscape(next) };
    } else if (char === "[") {
      const set = bracket(chars, at + 1);
      if ("problem" in set) return set;
      text += set.text;
      at = set.end;
    } else if (char === ".") {
      text += "[^\\n]";
    } else if (char === "{" && /^\{\d+(,\d*)?\}/.test(chars.slice(at).join(""))) {
      return { problem: "a number in braces: BuildKit reads it as a repetition" };
    } else {
      text += "^$()*?|".includes(char) ? char : literal(char);
    }
  }
  return { text };
}

/** A bracket expression from behind its `[`; `end` is the place of its `]`. */
function bracket(chars: readonly string[], start: number): { text: string; end: number } | { problem: string } {
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
    if (
      chars[at] === "[" &&
      chars[at + 1] === ":" &&
      chars
        .slice(at + 2)
        .join("")
        .includes(":]")
    )
      return { problem: "a named class such as [:alpha:]: write the characters themselves" };
    const set = chars[at] === "\\" ? classEscapes[chars[at + 1] ?? ""] : undefined;
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
