import type { DeleteReason, KeepReason } from "./prune-policy.js";

type Reason = KeepReason | DeleteReason;
type Sentences = { [W in Reason["why"]]: (reason: Extract<Reason, { why: W }>, nameOf: (digest: string) => string) => string };

const sentences: Sentences = {
  tag: ({ tag }) => `the tag ${tag} is a person's`,
  bookkeeping: () => "prune's own memory",
  member: ({ of }, nameOf) => `part of ${nameOf(of)}`,
  stage: ({ of }, nameOf) => `a stage of ${nameOf(of)}`,
  attached: ({ to }, nameOf) => `attached to ${nameOf(to)}`,
  planned: ({ where }) => `${where} needs it`,
  young: () => "younger than the grace time",
  "age-unknown": () => "its age is not known: it counts from the first prune with --yes that sees it",
  foreign: () => "without a tag and not image-factory's: somebody may run it by digest",
  last: () => "the registry deletes no last tag",
  unneeded: () => "no kept image and no plan needs it",
  part: ({ of }, nameOf) => `part of ${nameOf(of)}`,
  orphan: () => "nothing names it any more",
  "attached-to-deleted": ({ to }, nameOf) => `attached to ${nameOf(to)}`,
};

/** A reason as a person reads it. @param nameOf how a manifest is called, by its digest */
export const pruneSentence = (reason: Reason, nameOf: (digest: string) => string): string =>
  (sentences[reason.why] as (reason: Reason, nameOf: (digest: string) => string) => string)(reason, nameOf);
