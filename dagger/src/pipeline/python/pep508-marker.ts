/** Environment markers of PEP 508: what stands after the `;` of a requirement. */

export type Marker =
  | { kind: "compare"; left: Operand; operator: string; right: Operand }
  | { kind: "and" | "or"; parts: readonly Marker[] };
type Operand = { kind: "variable" | "text"; value: string };

/** What a marker is worth when no extra is asked for: decided, or a marker that still depends on the environment. */
export type Remaining = "always" | "never" | Marker;

const deepest = 100;

type Token = { text: string; at: number };

/** Thrown inside the parser only; `at` is an offset in the marker's text. */
class MarkerMistake extends Error {
  constructor(
    message: string,
    readonly at: number,
  ) {
    super(message);
  }
}

const variables = new Set([
  "python_version",
  "python_full_version",
  "os_name",
  "sys_platform",
  "platform_release",
  "platform_system",
  "platform_version",
  "platform_machine",
  "platform_python_implementation",
  "implementation_name",
  "implementation_version",
  "extra",
  "extras",
  "dependency_groups",
]);
/** Spellings from before PEP 508 that pip still reads. */
const oldNames: Readonly<Record<string, string>> = {
  "os.name": "os_name",
  "sys.platform": "sys_platform",
  "platform.version": "platform_version",
  "platform.machine": "platform_machine",
  "platform.python_implementation": "platform_python_implementation",
  python_implementation: "platform_python_implementation",
};
const operators = new Set(["<=", "<", "!=", "==", ">=", ">", "~=", "===", "in", "not in"]);

export type MarkerResult = { ok: true; marker: Marker } | { ok: false; message: string; at: number };

export function readMarker(text: string): MarkerResult {
  try {
    const tokens = tokenize(text);
    const end: Token = { text: "", at: text.trimEnd().length };
    let next = 0;
    const peek = (): Token => tokens[next] ?? end;
    const take = (): Token => tokens[next++] ?? end;

    const operand = (): Operand => {
      const token = take();
      if (/^["']/.test(token.text)) return { kind: "text", value: token.text.slice(1, -1) };
      const name = oldNames[token.text] ?? token.text;
      if (variables.has(name)) return { kind: "variable", value: name };
      if (token.text === "") throw new MarkerMistake("the marker ends too early", token.at);
      throw new MarkerMistake(`${token.text} is no marker variable`, token.at);
    };
    let depth = 0;
    const comparison = (): Marker => {
      if (peek().text === "(") {
        const { at } = take();
        depth += 1;
        if (depth > deepest) throw new MarkerMistake(`more than ${deepest} parentheses inside each other`, at);
        const inner = chain("or");
        depth -= 1;
        if (take().text !== ")") throw new MarkerMistake("a ) is missing", end.at);
        return inner;
      }
      const left = operand();
      const token = take();
      const operator = token.text === "not" && peek().text === "in" ? `not ${take().text}` : token.text;
      if (!operators.has(operator)) throw new MarkerMistake("expected a comparison such as == or >=", token.at);
      return { kind: "compare", left, operator, right: operand() };
    };
    const chain = (kind: "and" | "or"): Marker => {
      const below = kind === "or" ? () => chain("and") : comparison;
      const parts = [below()];
      while (peek().text === kind) {
        take();
        parts.push(below());
      }
      return joined(kind, parts);
    };

    const marker = chain("or");
    if (next < tokens.length) throw new MarkerMistake(`${peek().text} does not belong here`, peek().at);
    return { ok: true, marker };
  } catch (error) {
    if (error instanceof MarkerMistake) return { ok: false, message: error.message, at: error.at };
    throw error;
  }
}

/** One spelling for each meaning: single spaces, double quotes, parentheses only around `or` within `and`. */
export function markerText(marker: Marker): string {
  if (marker.kind === "compare") return `${operandText(marker.left)} ${marker.operator} ${operandText(marker.right)}`;
  const parts = marker.parts.map((part) =>
    marker.kind === "and" && part.kind === "or" ? `(${markerText(part)})` : markerText(part),
  );
  return parts.join(` ${marker.kind} `);
}

/** Decides every comparison with `extra`, for an install that asks for none (`wanted` null) or for one. */
export function withExtra(marker: Marker, wanted: string | null): Remaining {
  if (marker.kind === "compare") {
    const [variable, other] = marker.left.kind === "variable" ? [marker.left, marker.right] : [marker.right, marker.left];
    if (variable.kind !== "variable" || variable.value !== "extra") return marker;
    const same = wanted !== null && normal(other.value) === normal(wanted);
    return (marker.operator === "!=" ? !same : same) ? "always" : "never";
  }
  const [decides, drops] = marker.kind === "and" ? (["never", "always"] as const) : (["always", "never"] as const);
  const parts: Marker[] = [];
  for (const part of marker.parts) {
    const remaining = withExtra(part, wanted);
    if (remaining === decides) return decides;
    if (remaining !== drops && typeof remaining !== "string") parts.push(remaining);
  }
  return parts.length === 0 ? drops : joined(marker.kind, parts);
}

/** `a and (b and c)` is `a and b and c`: nesting of one kind means nothing. */
export function joined(kind: "and" | "or", parts: readonly Marker[]): Marker {
  const flat = parts.flatMap((part) => (part.kind === kind ? part.parts : [part]));
  const [only] = flat;
  return flat.length === 1 && only !== undefined ? only : { kind, parts: flat };
}

const normal = (name: string): string => name.toLowerCase().replace(/[-_.]+/g, "-");

const operandText = (operand: Operand): string => {
  if (operand.kind === "variable") return operand.value;
  return operand.value.includes('"') ? `'${operand.value}'` : `"${operand.value}"`;
};

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const pattern = /\s*(?:(===|~=|==|!=|<=|>=|<|>|\(|\)|"[^"]*"|'[^']*'|[A-Za-z_][\w.]*)|(\S))/gy;
  for (const match of text.matchAll(pattern)) {
    const at = match.index + match[0].length - (match[1] ?? match[2] ?? "").length;
    if (match[1] === undefined) {
      throw new MarkerMistake(/["']/.test(match[2] ?? "") ? "a quote is not closed" : `${match[2]} does not belong here`, at);
    }
    tokens.push({ text: match[1], at });
  }
  return tokens;
}
