/** Something that an image must hold, found out by running it or by looking at its files. Data: the edge runs it, image-verdict.ts judges. */
export type ImageCheck = {
  /** Unique in a list of checks, the same from run to run. */
  name: string;
  /** What must hold, for a person. */
  about: string;
  probe: Probe;
};

export type Probe =
  | {
      probe: "command";
      as: Runner;
      needs: Needs;
      /** Each is a command; the first whose result passes settles it. */
      attempts: readonly (readonly string[])[];
      expect: Expectation;
    }
  /** Every ELF file in these folders and below. */
  | { probe: "binaries"; folders: readonly string[]; machine: Machine }
  /** Nothing to run: the plan and the image's config settle it. */
  | { probe: "settled"; verdict: CheckVerdict };

/** user: as the image's config says. stranger: a UID that no file knows, with group 0, as OpenShift starts containers. */
export type Runner = "user" | "stranger";
/** Of the container: nothing beside what every one has, or what starting another container inside takes. */
export type Needs = "nothing" | "nesting";
/** Of a stranger, `uid:gid`. */
export const strangerId = "1000700000:0";

export type Expectation =
  /** Exit code 0; `tell`: the last line of what it says is worth reading. */
  | { expect: "success"; tell: boolean }
  | { expect: "version"; version: string }
  | { expect: "lines"; lines: readonly string[] }
  /** What a package manager prints of each installed package, one a line, as the lock writes it. */
  | { expect: "packages"; locked: readonly string[] }
  /** A JSON object of names and versions. `others`: names that may be there without a locked version. */
  | { expect: "distributions"; locked: Readonly<Record<string, string>>; others: readonly string[] };

/** `e_machine` of an ELF header (System V ABI). */
export const machines = { "x86-64": 62, aarch64: 183 } as const;
type Machine = keyof typeof machines;

/** What the edge found. */
export type CheckOutcome =
  | { outcome: "ended"; exitCode: number; stdout: string; stderr: string }
  | { outcome: "binaries"; found: readonly { path: string; machine: number }[] }
  /** It could not be tried on this machine. */
  | { outcome: "not-run"; why: string };

/** A check that could not be tried is never a pass. */
export type CheckVerdict = { verdict: "pass" | "fail" | "not-tested"; words: string };
export type CheckResult = ImageCheck & CheckVerdict;

/** How a script says that this machine does not allow what it tries, with the reason on its last line (the convention of automake's test drivers). */
export const notAllowed = 77;

/** Who a container runs as: `User` of a config (OCI image spec 1.1, config.md): a name or UID, after a colon a group's name or GID. */
export const identityOf = (
  user: string,
  accounts: { passwd: string; group: string },
): { uid: number; gid: number; additionalGids: readonly number[] } | null => {
  const [written, group] = user.split(":");
  const name = written || "0";
  const rows = (text: string) => text.split("\n").flatMap((line) => (line === "" ? [] : [line.split(":")]));
  const people = rows(accounts.passwd);
  const groups = rows(accounts.group);
  const person = people.find(([login, , uid]) => login === name || uid === name) ?? null;
  const uid = /^\d+$/.test(name) ? Number(name) : person === null ? null : Number(person[2]);
  if (uid === null) return null;
  if (group !== undefined) {
    const found = groups.find(([title]) => title === group)?.[2];
    const gid = /^\d+$/.test(group) ? Number(group) : found === undefined ? null : Number(found);
    return gid === null ? null : { uid, gid, additionalGids: [] };
  }
  const gid = person === null ? 0 : Number(person[3]);
  const member = groups.flatMap(([, , id, members]) =>
    person !== null && members?.split(",").includes(person[0]!) ? [Number(id)] : [],
  );
  return { uid, gid, additionalGids: member.filter((id) => id !== gid) };
};
