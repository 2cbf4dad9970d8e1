import * as z from "zod";
import { specSchema } from "../../dagger/src/pipeline/config/spec.js";
import { command } from "../cli/command.js";
import { replaceInside } from "../host/replace-inside.js";
import { limits, textInside } from "../../dagger/src/filesystem/read-inside.js";
import { openProject } from "../project/project.js";

export const schema = command({
  name: "schema",
  about: "Write images.schema.json, from which editors complete images.yaml",
  flags: { check: { type: "boolean", about: "write nothing; exit 2 when it is not current" } },
  async run({ check }, world) {
    const { root } = await openProject(world);
    const path = "images.schema.json";
    const text = `${JSON.stringify(z.toJSONSchema(specSchema, { io: "input", target: "draft-7" }), null, 2)}\n`;
    const current = textInside(root, path, limits.spec) === text;
    if (!current && !check) replaceInside(root, path, text);
    world.stderr(
      current
        ? "images.schema.json is current\n"
        : check
          ? "images.schema.json is not current: ./task schema\n"
          : "wrote images.schema.json\n",
    );
    return check && !current ? 2 : 0;
  },
});
