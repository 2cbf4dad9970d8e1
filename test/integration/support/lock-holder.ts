import { usingState } from "../../../ci/state/state-lock.js";
import { stateOf } from "../../../ci/state/state.js";
import { withLock } from "../../../ci/host/process-lock.js";

/** Holds a lock (`lock PATH`) or a mark of a state folder (`state DIR`), says `in`, and gives it back when its standard input ends. */
const [kind, path] = process.argv.slice(2) as ["lock" | "state", string];
const work = async (): Promise<void> => {
  process.stdout.write("in\n");
  for await (const _ of process.stdin) continue;
};
const around = { signal: new AbortController().signal, stderr: () => undefined };
if (kind === "lock") await withLock(path, work);
else await usingState(stateOf("/", { FACTORY_STATE: path }), around, work);
