/** Rows as columns with two spaces between; the last column is not padded, so that no line ends in blanks. */
export const table = (rows: readonly (readonly string[])[], indent = "  "): string => {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows
    .map((row) =>
      (indent + row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join("  ")).trimEnd(),
    )
    .join("\n");
};

const units = ["B", "kB", "MB", "GB", "TB"] as const;

/** Bytes in SI units, as registries and disks count: 1.5 MB is 1,500,000 bytes. */
export const bytes = (count: number): string => {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
};

export const seconds = (milliseconds: number): string => {
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const whole = Math.round(milliseconds / 1000);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
};

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
