/** What a base-tools stage stands on. */

export type Base =
  | { kind: "image"; reference: string; digest: string }
  | {
      kind: "bootstrap";
      distribution: "debian";
      suite: string;
      mirror: string;
      include: readonly string[];
      packages: readonly string[] | null;
    };
