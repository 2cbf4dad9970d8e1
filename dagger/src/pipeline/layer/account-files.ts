import type { ParentIndex } from "../contents/parent-index.js";
import { FactoryError } from "../common/error.js";
import { type Account, accountLines } from "../steps/step.js";
import type { AccountFile } from "../contents/file-entry.js";

/**
 * The account files that a new account changes, as they are afterwards: the exact lines of `accountLines` at the end of each.
 * A file that is absent below is made, as `>>` of the rendered script makes it: the subordinate ranges and the user's name are
 * needed wherever the account is, and every renderer must leave the same files.
 * @throws FactoryError CONFIG_INVALID where the name, the uid or the group's name or gid is taken
 */
export const withAccount = (accounts: ParentIndex["accounts"], account: Account): ParentIndex["accounts"] => {
  const { name, uid, gid } = account;
  for (const [taken, , id] of rows(accounts["/etc/passwd"]?.text)) {
    if (taken === name) throw clash(`the user ${name}`, `/etc/passwd has one of that name (uid ${id})`, "name");
    if (isNumber(id, uid)) throw clash(`the user ${name} with uid ${uid}`, `/etc/passwd gives that uid to ${taken}`, "uid");
  }
  for (const [taken, , id] of gid === 0 ? [] : rows(accounts["/etc/group"]?.text)) {
    if (taken === name) throw clash(`the group ${name}`, `/etc/group has one of that name (gid ${id})`, "name");
    if (isNumber(id, gid)) throw clash(`the group ${name} with gid ${gid}`, `/etc/group gives that gid to ${taken}`, "gid");
  }
  const added = Object.entries(accountLines(account)).map(([path, line]) => {
    const old = accounts[path as AccountFile] ?? { text: "", mode: "644", uid: 0, gid: 0 };
    // A last line without its end would swallow ours.
    const end = old.text === "" || old.text.endsWith("\n") ? "" : "\n";
    return [path, { ...old, text: `${old.text}${end}${line}\n` }] as const;
  });
  return { ...accounts, ...Object.fromEntries(added) };
};

/** Of a line in which no number stands (NIS writes `+::::::`) there is none: an empty text would be 0. */
const isNumber = (text: string | undefined, number: number): boolean => /^\d+$/.test(text ?? "") && Number(text) === number;

const rows = (text: string | undefined): string[][] =>
  (text ?? "")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));

const clash = (what: string, why: string, change: string) =>
  new FactoryError("CONFIG_INVALID", {
    what: `cannot add ${what}`,
    why: `${why} in the stage below`,
    fix: `choose another ${change} in stages.*.user of images.yaml${change === "gid" ? "; gid 0 needs no group of its own" : ""}`,
  });
