/** What a base-tools stage is built on. */

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
