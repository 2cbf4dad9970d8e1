/** A terminal's text as a picture (SVG), light or dark as the page is. The first line is what was typed. */
export const pictureOf = (text: string): string => {
  const lines = text.trimEnd().split("\n");
  const [letter, row, edge] = [7.8, 20, 16];
  const width = Math.ceil(Math.max(...lines.map((line) => line.length)) * letter + 2 * edge);
  const height = lines.length * row + 2 * edge;
  const drawn = lines.map((line, at) => {
    const kind = line.startsWith("$") ? "typed" : (kinds.find(([pattern]) => pattern.test(line))?.[1] ?? "plain");
    return `  <text class="${kind}" x="${edge}" y="${edge + (at + 1) * row - 6}">${escaped(line)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(lines[0]!)}">
  <style>
    rect { fill: #f6f8fa; stroke: #d1d9e0 }
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }
    .typed { font-weight: bold }
    .reuse { fill: #59636e }
    .assemble { fill: #0550ae }
    .execute { fill: #953800 }
    @media (prefers-color-scheme: dark) {
      rect { fill: #151b23; stroke: #3d444d }
      text { fill: #f0f6fc }
      .reuse { fill: #9198a1 }
      .assemble { fill: #79c0ff }
      .execute { fill: #ffa657 }
    }
  </style>
  <rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6"/>
${drawn.join("\n")}
</svg>
`;
};

const kinds = [
  [/^ {2}\S+ +[0-9a-f]{12} +reuse\b/, "reuse"],
  [/^ {2}\S+ +[0-9a-f]{12} +assemble\b/, "assemble"],
  [/^ {2}\S+ +[0-9a-f]{12} +execute\b/, "execute"],
] as const;

const escaped = (text: string): string =>
  text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll('"', "&quot;")
    .replaceAll(/ {2,}/g, (run) => "\u00a0".repeat(run.length));
