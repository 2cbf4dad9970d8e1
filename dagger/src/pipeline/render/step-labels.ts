import type { PlannedStage } from "../plan/types.js";
import type { Step } from "../steps/step.js";

/** How a person calls what an engine does: an engine's own name of a step that contains `fragment` is shown as `label`. */
export type Label = { fragment: string; label: string };

/**
 * Labels of a stage's instructions, the most telling first. Fragments are of the rendered instruction, blanks collapsed;
 * they are for the eye only, so that no key and no cache ever depends on them.
 */
export const labelsOf = (stage: PlannedStage): Label[] => {
  const steps = stage.ingredients.steps.map(({ step }) => step);
  const small = steps.filter(({ do: what }) => what === "user" || what === "directory" || what === "file");
  return [...steps.flatMap((step) => ofStep(step, stage.stage)), ...smallLabels(small)];
};

const ofStep = (step: Step, stage: string): Label[] => {
  switch (step.do) {
    case "install": {
      const label = `install ${step.names.length} packages with ${step.manager}${step.pins === null ? "" : ` (${step.pins.length} locked)`}`;
      return [{ fragment: step.manager === "apt" ? "apt-get -qq install" : "install_weak_deps=False", label }];
    }
    case "tool":
      return [
        { fragment: `download-${step.name}: ADD`, label: `download ${step.name} ${step.version}` },
        { fragment: `target=/run/downloads/${step.name} `, label: `unpack ${step.name} ${step.version}` },
      ];
    case "compile":
      return [
        { fragment: `download-${step.name}-toolchain: ADD`, label: `download Go for ${step.name}` },
        { fragment: `compile-${step.name}: RUN`, label: `compile ${step.name} ${step.version}` },
        { fragment: `COPY --from=compile-${step.name} `, label: `place ${step.name}` },
      ];
    case "python":
      return [
        {
          fragment: " -m venv --without-pip",
          label: `install ${step.pins?.length ?? step.requires.length} Python packages into ${step.venv}`,
        },
      ];
    case "run":
      return [{ fragment: ` ${step.command.slice(0, 60).replaceAll(/\s+/g, " ").trimEnd()}`, label: `run ${step.name}` }];
    case "copy":
      return [
        { fragment: `COPY --from=${stage}-files-`, label: `place files in ${step.to}` },
        { fragment: `${stage}-files-`, label: "read files of the context" },
      ];
    case "user":
    case "directory":
    case "file":
      return [];
    case "config": {
      const { workdir } = step.change;
      return workdir === null ? [] : [{ fragment: `WORKDIR ${workdir} `, label: `make ${workdir} the working directory` }];
    }
  }
};

const smallLabels = (steps: readonly Step[]): Label[] => {
  const words = steps.map((step) => (step.do === "user" ? `user ${step.account.name}` : "path" in step ? step.path : ""));
  const shown = words.length > 3 ? `${words.slice(0, 2).join(", ")} and ${words.length - 2} more` : words.join(", ");
  return steps.flatMap((step) => {
    if (step.do === "user") return [{ fragment: `echo ${step.account.name}:x:${step.account.uid}:`, label: `place ${shown}` }];
    return "path" in step ? [{ fragment: ` ${step.path}`, label: `place ${shown}` }] : [];
  });
};

/** The label of an engine's step, or its own name with what only a builder cares for left out. */
export const labelled = (name: string, labels: readonly Label[]): string => {
  const plain = `${name.replaceAll(/\s+/g, " ")} `;
  return (
    labels.find(({ fragment }) => plain.includes(fragment))?.label ??
    plain
      .replaceAll(/--mount=\S+ /g, "")
      .replace("set -eu; ", "")
      .trimEnd()
  );
};
