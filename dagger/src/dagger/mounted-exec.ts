import type { Container, ContainerWithExecOpts, Secret } from "@dagger.io/dagger";
import { execText } from "../pipeline/render/dagger-script.js";

/** Something that a command finds at `target` and that its layer does not hold. */
export type Mounting = { target: string; attach: (to: Container) => Container };

/** The secret of this id, where one was given. */
export const secretMounting = (secrets: ReadonlyMap<string, Secret>, id: string, target: string): Mounting[] => {
  const secret = secrets.get(id);
  return secret === undefined ? [] : [{ target, attach: (to) => to.withMountedSecret(target, secret) }];
};

/**
 * Commands as one exec of a container. Its text is made from the mounts that are really added, here and nowhere else: to an engine a place
 * at which nothing is mounted does not exist.
 */
export const mountedExec = (
  on: Container,
  statements: readonly string[],
  mountings: readonly Mounting[],
  epoch: number,
  options: ContainerWithExecOpts = {},
): { text: string; ran: Container; targets: readonly string[] } => {
  const targets = mountings.map(({ target }) => target);
  const text = execText(statements, epoch, targets);
  const mounted = mountings.reduce((to, { attach }) => attach(to), on);
  return { text, ran: mounted.withExec(["/bin/sh", "-eu", "-c", text], options), targets };
};
