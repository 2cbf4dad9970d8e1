import { FactoryError } from "../../dagger/src/pipeline/common/error.js";
import type { Engine } from "./interface/engine.js";
import type { Choice, Gone } from "./choose-engine.js";

/** What an engine throws that cannot be used at all; a step that failed is none of these. */
const unusable: ReadonlySet<string> = new Set(["ENGINE_FAILED", "ENGINE_MISSING", "HOST_TOOL_MISSING", "PERMISSION"]);

/**
 * The engine that was found, until it shows that it cannot be used after all: it looked well, and then did not connect, load or start. The
 * next one takes its jobs. An engine that has finished a step is used to the end: what fails later is told.
 * @param next chooses among the engines that have not failed; throws where none is left
 */
export const givingWay = (first: Choice, next: (gone: Gone) => Promise<Choice>): Engine => {
  let current = first;
  const gone = new Map<string, string>();
  const proven = new Set<Choice>();
  // Two jobs may fail at the same time; they change the engine once.
  const changes = new Map<Choice, Promise<void>>();
  const change = async (from: Choice, why: string): Promise<void> => {
    gone.set(from.name, why);
    await from.engine.release().catch(() => undefined);
    current = await next(gone);
  };
  return {
    get name() {
      return current.engine.name;
    },
    get address() {
      return current.engine.address;
    },
    get features() {
      return current.engine.features;
    },
    platforms: () => current.engine.platforms(),
    async execute(job, emit, signal) {
      for (;;) {
        const used = current;
        try {
          return await used.engine.execute(
            job,
            (event) => {
              if (event.type === "step-ended" && event.error === undefined) proven.add(used);
              emit(event);
            },
            signal,
          );
        } catch (error) {
          if (!(error instanceof FactoryError) || !unusable.has(error.code) || proven.has(used)) throw error;
          const { what, why } = error.explanation;
          const changed = changes.get(used) ?? change(used, `${what}: ${why.split("\n")[0] ?? ""}`);
          changes.set(used, changed);
          await changed;
        }
      }
    },
    release: () => current.engine.release(),
  };
};
