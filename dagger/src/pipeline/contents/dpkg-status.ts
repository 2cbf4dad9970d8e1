/**
 * What dpkg's status file (deb-control(5), dpkg(1)) calls installed, as sorted `name=version`; a package of a foreign architecture
 * is `name:architecture=version`, as apt writes it.
 */
export const installedPackages = (text: string): string[] => {
  const paragraphs = text.split(/\n\n+/).map(fieldsOf);
  const native = paragraphs.find(({ Package }) => Package === "dpkg")?.["Architecture"];
  return paragraphs
    .filter(({ Package, Version, Status }) => Package !== undefined && Version !== undefined && Status?.endsWith(" installed"))
    .map(({ Package, Version, Architecture }) => {
      const foreign = Architecture !== undefined && Architecture !== "all" && native !== undefined && Architecture !== native;
      return `${Package}${foreign ? `:${Architecture}` : ""}=${Version}`;
    })
    .sort();
};

const fieldsOf = (paragraph: string): Partial<Record<string, string>> =>
  Object.fromEntries(
    paragraph.split("\n").flatMap((line) => {
      const colon = line.indexOf(":");
      return colon <= 0 || line.startsWith(" ") || line.startsWith("\t")
        ? []
        : [[line.slice(0, colon), line.slice(colon + 1).trim()]];
    }),
  );
