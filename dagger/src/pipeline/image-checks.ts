import type { Plan } from "./plan.js";
import { quote } from "./script.js";
import type { StepOf } from "./step.js";

/** Something that must hold inside an image. `as` is who asks: the image's own user, or `uid:gid`. */
export type ImageCheck = {
  name: string;
  as: "image" | `${number}:${number}`;
  command: readonly string[];
  expects: string | null;
};

/** An account that no image has, in group 0: how some platforms run every container. */
const anyone = "234567:0";

/** What the plan promises of the image, as commands: tools answer with their versions, Python's packages fit together, the user can work. */
export const imageChecks = (plan: Plan): ImageCheck[] => {
  const steps = plan.stages.flatMap(({ ingredients }) => ingredients.steps.map(({ step }) => step));
  const checks: ImageCheck[] = [];
  for (const step of steps) {
    if (step.do === "tool" || step.do === "compile") checks.push(tool(step.name, step.version));
    if (step.do === "python") checks.push(python(step));
    if (step.do === "user") {
      const { name, uid, home } = step.account;
      checks.push(shell(`${name} is user ${uid}`, "image", "id -u", String(uid)));
      checks.push(shell(`any user of group 0 can write ${home}`, anyone, `touch ${quote(`${home}/.probe`)}`, null));
    }
    if (step.do === "config" && step.change.healthcheck !== null)
      checks.push({ name: "the healthcheck passes", as: "image", command: step.change.healthcheck.test, expects: null });
  }
  return checks;
};

const shell = (name: string, as: ImageCheck["as"], text: string, expects: string | null): ImageCheck => ({
  name,
  as,
  command: ["/bin/sh", "-c", text],
  expects,
});

/** Most programs know --version; kubectl and its like have a subcommand. */
const tool = (name: string, version: string): ImageCheck =>
  shell(
    `${name} is ${version}`,
    "image",
    `{ ${quote(name)} --version || ${quote(name)} version --client || ${quote(name)} version; } 2>&1`,
    version,
  );

const python = ({ version, venv }: StepOf<"python">): ImageCheck =>
  shell(
    `the Python packages in ${venv} fit together`,
    "image",
    `python${version} -m pip --disable-pip-version-check --python ${quote(`${venv}/bin/python`)} check`,
    null,
  );
