import { join } from "node:path";
import type { Client } from "@dagger.io/dagger";
import { type RequestArguments, type PreparedRequest, requireSinglePlatform, openRequest } from "./request.js";
import { readBuildArgs } from "../pipeline/config/arguments.js";
import { planImage } from "../pipeline/plan/plan.js";
import { planned } from "../pipeline/verify/judge.js";
import { onPlansAlone } from "../pipeline/verify/case.js";
import { refuseFaults } from "../pipeline/verify/case-result.js";
import { verifyMatrix } from "../pipeline/verify/matrix-text.js";
import { runCases, type Proving, subjectOf } from "../verification/run-cases.js";
import { type Declared, readCheckout, type ReadImage, writeCheckout } from "./source.js";

/** What to say of a change whose keys are all that a function looks at. */
const unbuilt = "verify:cache of the command line builds it too";

/** @throws FactoryError of openRequest, and CACHE_BROKEN */
export const verifyCall = async (client: Client, args: RequestArguments): Promise<string> =>
  provePlans(await openRequest(client, args), readBuildArgs(args.buildArgs), planImage);

/**
 * Proves on plans that the keys of a call's image hold: each kind of change is made in a copy of what was sent, in this container.
 * @param planner the planner whose keys are put to the proof
 * @returns the report as a person reads it
 * @throws FactoryError CACHE_BROKEN with every fault
 */
export const provePlans = async (
  { source, open, plans, scratch }: PreparedRequest,
  buildArgs: Readonly<Record<string, string>>,
  planner: typeof planImage,
): Promise<string> => {
  const began = Date.now();
  const { platform } = requireSinglePlatform(plans, "a proof");
  const planOf = ({ spec, lock }: Declared, { name, snapshot }: ReadImage, more: Readonly<Record<string, string>> = {}) =>
    planner({ spec, lock, image: name, snapshot, platform, buildArgs: { ...buildArgs, ...more } });
  const root = join(scratch, "copy");
  writeCheckout(source, open, root);
  const copy = await readCheckout(root, open.name);
  const plan = planOf(copy, copy);
  const proving: Proving = {
    root,
    aside: join(scratch, "aside"),
    subject: subjectOf(root, copy, copy, plan),
    before: { plan, stages: null },
    atHome: planOf(source, open),
    async look(_, change, before) {
      const now = await readCheckout(root, open.name);
      const after = { ...planned(before.plan, planOf(now, now, change.buildArgs)), failure: null };
      return { after, promised: null, note: onPlansAlone(change) ?? unbuilt };
    },
  };
  const cases = await runCases(proving, null, { now: Date.now, told: () => undefined });
  const report = { format: 1, image: open.name, platform, cases, seconds: (Date.now() - began) / 1000 } as const;
  refuseFaults(report, "fix what is named there; verify:cache of the command line shows each case with its builds");
  return verifyMatrix(report);
};
