/** JSON with sorted keys and no white space, so that equal values have equal texts (RFC 8785 in spirit; we hash no floats). */

import { createHash } from "node:crypto";

export const canonical = (value: unknown): string => {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  // Ten thousand files are as many objects: one text that grows takes half the time of lists that are joined.
  const members = value as Readonly<Record<string, unknown>>;
  let text = "";
  for (const key of Object.keys(members).sort())
    if (members[key] !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonical(members[key])}`;
  return `{${text}}`;
};
export const hashOf = (value: unknown): string => createHash("sha256").update(canonical(value)).digest("hex");
