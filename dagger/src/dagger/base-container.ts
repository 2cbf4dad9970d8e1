import type { Client, Secret } from "@dagger.io/dagger";
import type { BuiltStage } from "./stage-container.js";
import { enginePlatform } from "./sdk-types.js";
import { mountedExec, secretMounting } from "./mounted-exec.js";
import { baseConfig, bootstrapStatements, rootFolder } from "../pipeline/steps/debian-base.js";
import { oneLine } from "../pipeline/render/instructions.js";
import type { Plan } from "../pipeline/plan/types.js";
import { hostCa, hostCaExports } from "../pipeline/steps/shell.js";

/**
 * What base-tools is built on: the base image by its digest, or a Debian that is made from its package mirror in a container of Debian. The
 * image of that container is named by a tag: what is made depends on mmdebstrap and the packages, not on what it runs in.
 */
export const baseContainer = (client: Client, plan: Plan, secrets: ReadonlyMap<string, Secret>): BuiltStage => {
  const { base, epoch } = plan;
  const platform = enginePlatform(plan.platform);
  if (base.kind === "image")
    return { container: client.container({ platform }).from(`${base.reference}@${base.digest}`), pieces: [] };
  const debian = client.container({ platform }).from(`docker.io/library/debian:${base.suite}-slim`).withUser("0:0");
  const statements = [...hostCaExports.map(oneLine), ...bootstrapStatements(base, epoch)];
  // mmdebstrap mounts /proc and /dev for the packages' own scripts.
  const asRoot = { insecureRootCapabilities: true };
  const { text, ran } = mountedExec(debian, statements, secretMounting(secrets, hostCa.id, hostCa.target), epoch, asRoot);
  // A copy of its own: the folder of a container brings all that the container holds.
  const root = client.directory().withDirectory("/", ran.directory(rootFolder));
  return {
    container: client
      .container({ platform })
      .withRootfs(root)
      .withEnvVariable("PATH", baseConfig.path)
      .withDefaultArgs([...baseConfig.cmd]),
    pieces: [{ name: `bootstrap Debian ${base.suite}`, text, ran, beside: false }],
  };
};
