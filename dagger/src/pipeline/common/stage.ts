/** The four stages of every image, in build order. */
export const stageNames = ["base-tools", "dependencies", "application", "runtime"] as const;
export type StageName = (typeof stageNames)[number];

/** The platforms an image can be built for, in the notation of OCI's image index (`os/architecture`). */
export const platformNames = ["linux/amd64", "linux/arm64"] as const;
export type Platform = (typeof platformNames)[number];

export type Architecture = "amd64" | "arm64";
export const architectureOf = (platform: Platform): Architecture => (platform === "linux/amd64" ? "amd64" : "arm64");

export const parentOf = (stage: StageName): StageName | null => stageNames[stageNames.indexOf(stage) - 1] ?? null;
