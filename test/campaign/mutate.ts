import type { Random } from "./rounds.js";

const odd = [
  "",
  "\0",
  "\ufffd",
  "\ud800",
  "null",
  "-1",
  "1e999",
  "[]",
  "{}",
  "true",
  '"',
  "'",
  "\\",
  "%zz",
  "\n",
  "\r\n",
  "://",
  "#",
  "&a",
  "*a",
  "<<",
  "__proto__",
  "constructor",
  "toString",
  "=",
  ":",
  ";",
  ",",
  "@",
  "~",
  "!",
  "|",
  "0".repeat(400),
  "[".repeat(5_000),
  "(".repeat(5_000),
  "{".repeat(500),
  " ".repeat(5_000),
  "a*".repeat(50),
  '{"a":'.repeat(300),
  "- ".repeat(2_000),
];

/** One to three changes: a part is left out, doubled, replaced by something odd, or one bit of it turned. */
export const changed = (random: Random, text: string): string => {
  let now = text;
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(now.length + 1);
    const end = at + random.below(Math.min(30, now.length - at + 1));
    const kind = random.below(6);
    if (kind === 0) now = now.slice(0, at);
    else if (kind === 1) now = now.slice(0, at) + now.slice(end);
    else if (kind === 2) now = now.slice(0, end) + now.slice(at);
    else if (kind === 3 && at < now.length)
      now = now.slice(0, at) + String.fromCharCode(now.charCodeAt(at) ^ (1 << random.below(8))) + now.slice(at + 1);
    else if (kind === 4) {
      // A whole word or value of the text becomes something else.
      const words = [...now.matchAll(/"[^"]*"|[\w.-]+/g)];
      const word = words.length === 0 ? null : random.oneOf(words);
      if (word !== null) now = now.slice(0, word.index) + random.oneOf(odd) + now.slice(word.index + word[0].length);
    } else now = now.slice(0, at) + random.oneOf(odd) + now.slice(end);
  }
  return now;
};
