import type { Container } from "@dagger.io/dagger";
import { byName } from "../pipeline/steps/shell.js";
import type { ConfigChange } from "../pipeline/steps/step.js";

/** A container with what a stage sets of its config; an entrypoint resets inherited arguments, as in a Dockerfile. */
export const configured = (on: Container, change: ConfigChange): Container => {
  const { env, path = [], labels, workdir, entrypoint, cmd, healthcheck, user } = change;
  let at = on;
  for (const [name, value] of byName(env)) at = at.withEnvVariable(name, value);
  if (path.length > 0) at = at.withEnvVariable("PATH", `${path.join(":")}:$PATH`, { expand: true });
  for (const [name, value] of byName(labels)) at = at.withLabel(name, value);
  if (workdir !== null) at = at.withWorkdir(workdir);
  if (entrypoint !== null) at = at.withEntrypoint([...entrypoint]);
  if (cmd !== null) at = at.withDefaultArgs([...cmd]);
  if (healthcheck !== null) {
    const { test, interval, timeout, startPeriod, retries } = healthcheck;
    const times = { interval: seconds(interval), timeout: seconds(timeout), startPeriod: seconds(startPeriod) };
    at = at.withDockerHealthcheck([...test], { ...times, retries });
  }
  return user === null ? at : at.withUser(user);
};

const seconds = (nanoseconds: number): string => `${nanoseconds / 1e9}s`;
