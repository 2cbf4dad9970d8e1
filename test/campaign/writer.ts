import { parseOutput } from "../../ci/outputs/index.js";
import type { Descriptor } from "../../dagger/src/pipeline/oci/manifest.js";

/** A process that writes one image and the other to the same place, over and over, until it is killed. Says when it begins. */
const [layout, form, ...roots] = process.argv.slice(2) as [string, string, string, string];
const { output, target } = parseOutput(form);
process.stdout.write("begin\n");
for (let turn = 0; ; turn += 1) {
  const root = JSON.parse(roots[turn % roots.length]!) as Descriptor;
  await output.write({ layout, root, name: "it:1" }, target, new AbortController().signal);
}
