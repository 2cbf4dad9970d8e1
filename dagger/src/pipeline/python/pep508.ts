/** Requirements of Python projects (PEP 508) in one canonical form, so that spelling and order never reach a key. */
import { readSpecifiers } from "./pep440.js";
import { joined, type Marker, markerText, readMarker, withExtra } from "./pep508-marker.js";

export type Requirement = {
  /** Normalised (PEP 503): lower case, single dashes. */
  name: string;
  /** Normalised, sorted, each once. */
  extras: readonly string[];
  from: { kind: "versions"; specifiers: string } | { kind: "url"; url: string };
  marker: Marker | null;
};

export type RequirementResult =
  | { ok: true; requirement: Requirement }
  /** `at` is the offset of the mistake in the given text. */
  | { ok: false; message: string; at: number; hint: string };

const form = 'the form is name[extra]>=1.0,<2; python_version < "3.12" (PEP 508)';

/** PEP 503: the one name under which an index, pip and a lock know a project. */
export const normalName = (name: string): string => name.toLowerCase().replace(/[-_.]+/g, "-");

export const isName = (text: string): boolean => /^[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?$/i.test(text);

export function readRequirement(text: string): RequirementResult {
  const no = (message: string, at: number, hint?: string): RequirementResult => ({
    ok: false,
    message,
    at,
    hint: hint ?? form,
  });
  const start = text.length - text.trimStart().length;
  const head = /^\s*([A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?)\s*/i.exec(text);
  if (head?.[1] === undefined) {
    if (/^\s*$/.test(text)) return no("the requirement is empty", 0, "remove it");
    if (/^\s*-/.test(text)) return no("options of pip have no place here", start, "list the requirements themselves");
    if (/^\s*[./~]/.test(text))
      return no("a path has no place here", start, "write name @ file:///path, or give the project its own entry");
    return no(`a requirement starts with a name, not with ${JSON.stringify(text[start])}`, start);
  }
  let at = head[0].length;

  let extras: string[] = [];
  if (text[at] === "[") {
    const close = text.indexOf("]", at);
    if (close < 0) return no("a ] is missing", at);
    const inside = text.slice(at + 1, close).trim();
    extras = inside === "" ? [] : inside.split(",").map((extra) => extra.trim());
    const bad = extras.find((extra) => !isName(extra));
    if (bad !== undefined) return no(`${JSON.stringify(bad)} is no name of an extra`, at + 1);
    at = close + 1;
  }

  const rest = text.slice(at);
  const url = /^\s*@\s*(\S+)(?:\s+(?=;)|\s*$)/.exec(rest);
  if (/^\s*@/.test(rest) && url?.[1] === undefined) return no("expected one URL after @, then a space before any ;", at);
  let from: Requirement["from"];
  if (url?.[1] !== undefined) {
    if (!/^[a-z][a-z0-9+.-]*:/i.test(url[1]))
      return no(`${url[1]} is no URL`, at, "write a full URL, such as https://… or file:///…");
    from = { kind: "url", url: url[1] };
    at += url[0].length;
  } else {
    const end = rest.includes(";") ? rest.indexOf(";") : rest.length;
    const written = rest.slice(0, end);
    const bracketed = /^(\s*\()(.*)\)\s*$/s.exec(written);
    const specifiers = readSpecifiers(bracketed?.[2] ?? written);
    if (!specifiers.ok) return no(specifiers.message, at + (bracketed?.[1]?.length ?? 0) + specifiers.at, specifiers.hint);
    from = { kind: "versions", specifiers: specifiers.text };
    at += end;
  }

  let marker: Marker | null = null;
  if (text[at] === ";") {
    const result = readMarker(text.slice(at + 1));
    if (!result.ok) return no(result.message, at + 1 + result.at);
    marker = result.marker;
  }
  return {
    ok: true,
    requirement: {
      name: normalName(head[1]),
      extras: [...new Set(extras.map(normalName))].sort(),
      from,
      marker,
    },
  };
}

/** The canonical text: reading it again gives the same requirement, and the same text. */
export function requirementText({ name, extras, from, marker }: Requirement): string {
  const head = extras.length === 0 ? name : `${name}[${extras.join(",")}]`;
  const condition = marker === null ? "" : `; ${markerText(marker)}`;
  if (from.kind === "versions") return head + from.specifiers + condition;
  return `${head} @ ${from.url}${condition === "" ? "" : ` ${condition}`}`;
}

/** The requirement as it stands for an install with this extra (null: with none), or null when it then does not apply. */
export function forExtra(requirement: Requirement, extra: string | null): Requirement | null {
  if (requirement.marker === null) return extra === null ? requirement : null;
  const remaining = withExtra(requirement.marker, extra);
  if (remaining === "never") return null;
  // What applies without the extra is no part of the extra.
  if (extra !== null && withExtra(requirement.marker, null) !== "never") return null;
  return { ...requirement, marker: remaining === "always" ? null : remaining };
}

/** The requirement as package metadata words it for an optional part: `… and extra == "dev"`. */
export function asExtra(requirement: Requirement, extra: string): Requirement {
  const condition: Marker = {
    kind: "compare",
    left: { kind: "variable", value: "extra" },
    operator: "==",
    right: { kind: "text", value: extra },
  };
  return {
    ...requirement,
    marker: requirement.marker === null ? condition : joined("and", [requirement.marker, condition]),
  };
}
