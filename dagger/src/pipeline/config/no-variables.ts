/** Why a `$` is refused in a value that nothing expands, and what to write instead. */
export const noVariables = (text: string): string => {
  const why = "a $ is not replaced by a variable's value here";
  const parts = text.split(":");
  const folders = parts.slice(0, -1);
  const isInFront = /^\$(?:PATH|\{PATH\})$/.test(parts.at(-1)!) && folders.every((folder) => /^[^$]+$/.test(folder));
  return isInFront && folders.length > 0
    ? `${why}; to put folders in front of PATH, write path: [${folders.join(", ")}] beside env`
    : `${why}; write the value itself, or $$ for a literal $`;
};
