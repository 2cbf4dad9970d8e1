import { run } from "../../../ci/host/process.js";

/** Why no Dagger engine can be used here, as words for a skipped test; null where one answers. */
export const whyNot = async (): Promise<string | null> => {
  try {
    const { exitCode, stderr } = await run("dagger", ["--silent", "query"], {
      input: "{ defaultPlatform }",
      timeout: 120_000,
    });
    return exitCode === 0 ? null : `no engine answers: ${stderr.trim().split("\n").at(-1) ?? ""}`;
  } catch {
    return "dagger is not on PATH";
  }
};
