import type { Allowance } from "../../dagger/src/pipeline/compare/allowances.js";
import { allAllowances, compareImages } from "../../dagger/src/pipeline/compare/compare-images.js";
import { answers, FactoryError } from "../../dagger/src/pipeline/common/error.js";
import { command } from "../cli/command.js";
import { formsText, imageValues, openAnyImage } from "../images/index.js";
import { findLocalStage } from "../build/local-stage.js";
import { platformsOf } from "../project/project.js";
import { comparisonJson, comparisonText, rulesText } from "../view/compare.js";
import { jsonFlag, platformFlag, registryFlag, remoteFlag } from "../cli/flags.js";

export const compare = command({
  name: "compare",
  about: "Compare two images: config and every path of the root filesystem",
  more: "exit 0: equal, 2: different",
  positional: ["A", "B"],
  flags: {
    platform: { ...platformFlag, about: "which image of an index of several platforms, and of a stage" },
    strict: { type: "boolean", about: "leave nothing out of what --rules names" },
    rules: { type: "boolean", about: "print what is left out, and why" },
    limit: { type: "string", about: "how many differences to print; 0 for all", default: "20" },
    remote: remoteFlag,
    json: jsonFlag,
    registry: registryFlag,
  },
  async run(flags, world, names) {
    if (flags.rules) {
      world.stdout(rulesText());
      return answers.yes;
    }
    const [first, second] = names;
    if (first === undefined || second === undefined || names.length > 2) {
      throw new FactoryError("USAGE", {
        what: `compare takes two images, not ${names.length}`,
        why: formsText,
        fix: "for example: ./task compare -- stage:builder oci:./image",
      });
    }
    const place = {
      folder: world.cwd,
      platform: flags.platform === undefined ? null : platformsOf({ platforms: [] }, flags.platform)[0]!,
      stage: async (name: string) => {
        const [image, stage] = name.split("/");
        const { project, record } = await findLocalStage(world, { image, stage, platform: flags.platform, remote: flags.remote });
        return { layout: project.state.layout, digest: record.digest };
      },
    };
    const a = await openAnyImage(first, place);
    const b = await openAnyImage(second, place);
    const [was, now] = await imageValues(a, b, world.signal);
    const left: ReadonlySet<Allowance> = flags.strict ? new Set() : allAllowances;
    const differences = compareImages(was, now, left);
    const comparison = { a, b, paths: now.index.entries.length, differences, left };
    world.stdout(flags.json ? comparisonJson(comparison) : comparisonText(comparison, Number(flags.limit)));
    return differences.length === 0 ? answers.yes : answers.no;
  },
});
