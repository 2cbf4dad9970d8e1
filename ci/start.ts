import * as modules from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Starts the compiled program. Node keeps what V8 compiled of it in an earlier run: a fifth of what a plan or a build takes beyond Node's own
 * start. It has to be told before it reads the program, so this is another file; NODE_COMPILE_CACHE would go to every program that is started.
 */
const folder = dirname(fileURLToPath(import.meta.url));
// A Node that is too old has no such function; the program says so (ci/main.ts).
modules.enableCompileCache?.(join(folder, "compiled"));
modules.createRequire(import.meta.url)(join(folder, "program.cjs"));
