import type { Piece } from "../../../dagger/src/dagger/stage-container.js";
import { readTook } from "../../../dagger/src/pipeline/render/dagger-script.js";
import type { BuildEvent } from "../../../dagger/src/pipeline/common/build-event.js";
import type { StageName } from "../../../dagger/src/pipeline/common/stage.js";

/** Where the events of a job go; `prefix` keeps the steps of several jobs of one run apart. */
export type Told = { emit: (event: BuildEvent) => void; stage: StageName; prefix: string };

/**
 * Lets the commands of a stage run, one after the other as each is built on the one before, and those beside it meanwhile. What a command printed
 * is told when it has ended: the API says nothing earlier.
 */
export const watched = async (pieces: readonly Piece[], told: Told): Promise<void> => {
  const beside: Promise<void>[] = [];
  for (const [at, piece] of pieces.entries()) {
    const work = watch(piece, `${told.prefix}/${at}`, told);
    if (!piece.beside) await work;
    else {
      beside.push(work);
      // Whatever fails first is what is told.
      work.catch(() => undefined);
    }
  }
  await Promise.all(beside);
};

const watch = async ({ name, ran }: Piece, step: string, told: Told): Promise<void> => {
  const { emit } = told;
  let waited = 0;
  await asStep(step, name, told, async () => {
    const started = Date.now();
    await ran.sync();
    waited = Date.now() - started;
    const printed = await ran.combinedOutput().catch(() => "");
    const { milliseconds, rest } = readTook(printed);
    if (rest.trim() !== "") emit({ type: "step-output", at: Date.now(), step, stream: "stdout", text: `${rest.trimEnd()}\n` });
    return milliseconds === null || waited < milliseconds;
  });
};

/** One step of a job as events; the work says whether its result was remembered. */
export const asStep = async (step: string, name: string, { emit, stage }: Told, work: () => Promise<boolean>): Promise<void> => {
  emit({ type: "step-started", at: Date.now(), step, name, stage });
  try {
    const cached = await work();
    emit({ type: "step-ended", at: Date.now(), step, cached });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    emit({ type: "step-ended", at: Date.now(), step, cached: false, error: message.split("\n")[0] ?? "" });
    throw error;
  }
};
