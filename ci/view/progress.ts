import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import type { Platform, StageName } from "../../dagger/src/pipeline/common/stage.js";
import { clean, clip, duration, painter, shortDigest } from "./line.js";

/** One step as a person follows it. Times are milliseconds; `spent` sums the intervals that have ended. */
export type StepView = {
  number: number;
  stage: StageName | null;
  name: string;
  since: number | null;
  spent: number;
  cached: boolean;
  error: string | null;
  /** Whether a line about its start was shown; one that ends at once gets a single line. */
  announced: boolean;
  /** The last finished lines of its output, and the line that is being written. */
  log: readonly string[];
  writing: string;
  doing: { what: string; current: number; total: number | null } | null;
};

/** All that the views know; made from events alone, so that a kept run log shows the same again. */
export type Progress = {
  steps: ReadonlyMap<string, StepView>;
  stages: ReadonlyMap<
    string,
    {
      stage: StageName;
      platform: Platform;
      since: number;
      ended: number | null;
      digest: string | null;
    }
  >;
};

export type ViewOptions = { colour: boolean; verbose: boolean };
/** `starts`: whether lines say that a step runs; where a live frame shows that, they only say how it ended. */
export type LineOptions = ViewOptions & { starts: boolean };
export type Told = { progress: Progress; lines: string[] };

export const noProgress: Progress = { steps: new Map(), stages: new Map() };

/** Lines of output kept of each step, to be shown when it fails. */
const keptLines = 200;
/** Milliseconds: a step that ends sooner gets one line, at its end; one that takes longer also gets one at its start. */
export const announceAfter = 1_000;

const unseen = (number: number): StepView => ({
  number,
  stage: null,
  name: "",
  since: null,
  spent: 0,
  cached: false,
  error: null,
  announced: false,
  log: [],
  writing: "",
  doing: null,
});

/** The fold: what is known after an event. */
export function advance(progress: Progress, event: BuildEvent): Progress {
  switch (event.type) {
    case "warning":
      return progress;
    case "stage-started":
    case "stage-ended": {
      const key = `${event.stage} ${event.platform}`;
      const { stage, platform, at } = event;
      const known = progress.stages.get(key) ?? {
        stage,
        platform,
        since: at,
        ended: null,
        digest: null,
      };
      const next =
        event.type === "stage-started" ? { ...known, since: at, ended: null } : { ...known, ended: at, digest: event.digest };
      return { ...progress, stages: new Map(progress.stages).set(key, next) };
    }
    default: {
      const known = progress.steps.get(event.step) ?? unseen(progress.steps.size + 1);
      return {
        ...progress,
        steps: new Map(progress.steps).set(event.step, stepAfter(known, event)),
      };
    }
  }
}

type StepEvent = Extract<BuildEvent, { step: string }>;

function stepAfter(step: StepView, event: StepEvent): StepView {
  switch (event.type) {
    case "step-started":
      return {
        ...step,
        name: event.name,
        stage: event.stage ?? step.stage,
        since: step.since ?? event.at,
        doing: null,
      };
    case "step-output": {
      const [writing = "", ...finished] = (step.writing + event.text).split("\n").reverse();
      const log = [...step.log, ...finished.reverse().map(clean)].slice(-keptLines);
      return { ...step, log, writing };
    }
    case "step-progress":
      return {
        ...step,
        doing: { what: event.what, current: event.current, total: event.total ?? null },
      };
    case "step-ended": {
      const spent = step.spent + (step.since === null ? 0 : Math.max(0, event.at - step.since));
      return {
        ...step,
        since: null,
        spent,
        cached: event.cached,
        error: event.error ?? step.error,
        doing: null,
      };
    }
  }
}

/** What engines do for themselves: of no interest unless it takes long or fails. */
export const housekeeping = /^\[(internal|context .*|auth)\]/;
/** A step that was stopped because another one failed. */
const stoppedWithOthers = /\bcontext canceled\b/i;

const title = (step: StepView, options: ViewOptions): string => {
  const paint = painter(options.colour);
  const stage = step.stage === null ? "" : `${paint.stage(`[${step.stage}]`)} `;
  return `${paint.faint(`#${step.number}`)} ${stage}${clip(clean(step.name), 120)}`;
};

/** For a log that nobody watches: lines to append after an event. */
export function plain(event: BuildEvent, before: Progress, options: LineOptions): Told {
  const due = plainTick(event.at, before, options, "step" in event ? event.step : null);
  const progress = advance(due.progress, event);
  const { paint, lines } = { paint: painter(options.colour), lines: due.lines };
  switch (event.type) {
    case "stage-started":
      lines.push(`${paint.stage(`[${event.stage}]`)} ${event.platform}`);
      break;
    case "stage-ended": {
      const since = progress.stages.get(`${event.stage} ${event.platform}`)?.since ?? event.at;
      lines.push(
        `${paint.stage(`[${event.stage}]`)} ${paint.good("done")} ${duration(event.at - since)} ${shortDigest(event.digest)}`,
      );
      break;
    }
    case "warning":
      lines.push(...event.text.split("\n").map((line) => `${paint.odd("warning:")} ${clean(line)}`));
      break;
    case "step-output": {
      const step = progress.steps.get(event.step);
      const fresh = event.text.split("\n").length - 1;
      if (options.verbose && step !== undefined && fresh > 0)
        lines.push(...step.log.slice(-fresh).map((line) => `${paint.faint(`#${step.number} |`)} ${line}`));
      break;
    }
    case "step-ended": {
      const step = progress.steps.get(event.step);
      if (step !== undefined) lines.push(...ending(step, options));
      break;
    }
    case "step-started":
    case "step-progress":
      break;
  }
  return { progress, lines };
}

/** Lines about steps that have been running for a while by `now`; call it now and then, for a step may be silent. */
export function plainTick(now: number, progress: Progress, options: LineOptions, except: string | null = null): Told {
  if (!options.starts) return { progress, lines: [] };
  const steps = new Map(progress.steps);
  const lines: string[] = [];
  for (const [id, step] of progress.steps) {
    if (id === except || step.since === null || step.announced || now - step.since < announceAfter) continue;
    steps.set(id, { ...step, announced: true });
    lines.push(title(step, options));
  }
  return lines.length === 0 ? { progress, lines } : { progress: { ...progress, steps }, lines };
}

function ending(step: StepView, options: ViewOptions): string[] {
  const paint = painter(options.colour);
  const named = title(step, options);
  const start = named.endsWith("…") ? named : `${named} …`;
  if (step.error !== null && !stoppedWithOthers.test(step.error)) {
    const shown = options.verbose ? [] : [...step.log, clean(step.writing)].filter(Boolean);
    const log = shown.map((line) => `${paint.faint(`#${step.number} |`)} ${line}`);
    return [...log, `${start} ${paint.bad("FAILED")} ${duration(step.spent)}: ${clip(clean(cause(step.error)), 200)}`];
  }
  if (step.error !== null) return [`${start} stopped`];
  if (housekeeping.test(step.name) && step.spent < announceAfter && !options.verbose) return [];
  return [`${start} ${step.cached ? paint.faint("CACHED") : `${paint.good("done")} ${duration(step.spent)}`}`];
}

/** BuildKit repeats the whole command before the exit code; the line has named it already. */
const cause = (error: string): string => error.replace(/^.*did not complete successfully: (exit code: \d+)$/s, "$1");
