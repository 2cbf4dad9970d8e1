/** One field of a query with its arguments; an id of an object stands as the text that the session gave out. */
export type Call = { field: string; args: Readonly<Record<string, Value>> };
export type Value = string | number | boolean | null | Word | readonly Value[] | { readonly [key: string]: Value };
/** A member of an enum. */
type Word = { word: string };

/** A query as the client library writes it: one path of fields, with `... on Type` where an object is entered by its id. */
export const readQuery = (text: string): Call[] => {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|\.\.\.|[{}()[\]:,]|[^\s{}()[\]:,"]+/g) ?? [];
  let at = 0;
  const next = () => tokens[at++] ?? "";
  const expect = (token: string) => {
    if (next() !== token) throw new Error(`expected ${token} before ${tokens.slice(at, at + 5).join(" ")} in ${text}`);
  };
  const value = (): Value => {
    const token = next();
    if (token === "[") {
      const list: Value[] = [];
      while (tokens[at] !== "]") {
        list.push(value());
        if (tokens[at] === ",") at += 1;
      }
      expect("]");
      return list;
    }
    if (token === "{") {
      const object: Record<string, Value> = {};
      while (tokens[at] !== "}") {
        const key = next();
        expect(":");
        object[key] = value();
        if (tokens[at] === ",") at += 1;
      }
      expect("}");
      return object;
    }
    if (/^(?:".*"|-?\d.*|true|false|null)$/s.test(token)) return JSON.parse(token) as Value;
    return { word: token };
  };
  const calls: Call[] = [];
  expect("{");
  for (;;) {
    if (tokens[at] === "...") {
      at += 3;
      expect("{");
    }
    const field = next();
    const args: Record<string, Value> = {};
    if (tokens[at] === "(") {
      at += 1;
      while (tokens[at] !== ")") {
        const name = next();
        expect(":");
        args[name] = value();
        if (tokens[at] === ",") at += 1;
      }
      expect(")");
    }
    calls.push({ field, args });
    if (tokens[at] !== "{") return calls;
    at += 1;
  }
};
