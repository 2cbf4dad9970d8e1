import type { StageEntry } from "./file-entry.js";

/**
 * Which paths share an inode: each path that shares its own, with all of its names, sorted. A link that a later layer parted (it
 * replaced one of the names) is none any more: what shares an inode is alike in everything.
 */
export const hardlinkGroups = (files: ReadonlyMap<string, StageEntry>): Map<string, readonly string[]> => {
  const leaders = new Map<string, string>();
  const leaderOf = (path: string): string => {
    let at = path;
    for (let up = leaders.get(at); up !== undefined && up !== at; up = leaders.get(at)) at = up;
    return at;
  };
  for (const entry of files.values()) {
    const other = entry.hardlink === undefined ? undefined : files.get(entry.hardlink);
    if (other === undefined || !isAlike(entry, other)) continue;
    const [one, two] = [leaderOf(entry.path), leaderOf(other.path)];
    leaders.set(one, two);
    leaders.set(two, two);
  }
  const groups = new Map<string, string[]>();
  for (const path of leaders.keys()) {
    const leader = leaderOf(path);
    const group = groups.get(leader);
    if (group === undefined) groups.set(leader, [path]);
    else group.push(path);
  }
  return new Map([...groups.values()].flatMap((group) => group.sort().map((path) => [path, group] as const)));
};

const isAlike = (one: StageEntry, other: StageEntry): boolean =>
  one.type === other.type &&
  one.sha256 === other.sha256 &&
  one.mode === other.mode &&
  one.uid === other.uid &&
  one.gid === other.gid;
