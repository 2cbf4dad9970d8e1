import type { BuildEvent } from "../../../dagger/src/pipeline/common/build-event.js";
import { type Label, labelled } from "../../../dagger/src/pipeline/render/step-labels.js";
import { type StageName, stageNames } from "../../../dagger/src/pipeline/common/stage.js";
import { type Mask, maskOf } from "../../host/mask.js";

/** The step that ended a build, by the name that its events have. `tail` holds the last lines of its output. */
export type FailedStep = { name: string; error: string; tail: readonly string[] };

/** Turns the lines of `--progress=rawjson` into events, in order. It reads no clock: every time is the engine's own. */
export type RawjsonReader = {
  take(line: string): BuildEvent[];
  /** What was kept back of the steps' output, because more could have followed. */
  end(): BuildEvent[];
  /** Lines that are no progress: what the client logged, and the error text that it ends with. */
  stray(): readonly string[];
  failure(): FailedStep | null;
};

/** `stage` owns the steps that name no stage of ours; `prefix` keeps the steps of several jobs of one run apart. */
export type RawjsonOptions = { stage: StageName; prefix?: string; labels?: readonly Label[]; mask?: Mask };

type Vertex = {
  digest: string;
  name?: string;
  started?: string;
  completed?: string;
  cached?: boolean;
  error?: string;
};
type Status = { id: string; vertex: string; current?: number; total?: number; timestamp?: string };
type Log = { vertex: string; stream?: number; data?: string; timestamp?: string };
type Warning = { vertex?: string; short?: string; detail?: string[] };
type Message = { vertexes?: Vertex[]; statuses?: Status[]; logs?: Log[]; warnings?: Warning[] };

type Step = {
  name: string;
  open: string | null;
  closed: string | null;
  error: string | null;
  tail: string;
  streams: Map<"stdout" | "stderr", { decoder: InstanceType<typeof TextDecoder>; mask: ReturnType<Mask["stream"]> }>;
};

const tailLines = 20;
/** Characters kept of each step's output for a failure; more than `tailLines` of ordinary lines. */
const tailLength = 16_384;
/** A step that stops because another one failed is not what went wrong. */
const stoppedWithOthers = /\bcontext canceled\b/i;

export function rawjsonReader(options: RawjsonOptions): RawjsonReader {
  const steps = new Map<string, Step>();
  const strays: string[] = [];
  const mask = options.mask ?? maskOf([]);
  let latest = 0;

  const time = (text: string | undefined): number => {
    const parsed = text === undefined ? Number.NaN : Date.parse(text);
    if (!Number.isNaN(parsed)) latest = Math.max(latest, parsed);
    return Number.isNaN(parsed) ? latest : parsed;
  };
  const idOf = (digest: string) => `${options.prefix ?? ""}${digest.replace(/^sha256:/, "").slice(0, 12)}`;
  const stepOf = (digest: string): Step => {
    const known = steps.get(digest);
    if (known !== undefined) return known;
    const step: Step = {
      name: "",
      open: null,
      closed: null,
      error: null,
      tail: "",
      streams: new Map(),
    };
    steps.set(digest, step);
    return step;
  };

  const vertexEvents = (vertex: Vertex): BuildEvent[] => {
    const step = stepOf(vertex.digest);
    if (vertex.name !== undefined) step.name = vertex.name;
    if (vertex.started === undefined) return [];
    const events: BuildEvent[] = [];
    const id = idOf(vertex.digest);
    // The same interval is reported again and again, and a step may start more than once: only a new start time opens it.
    if (step.open !== vertex.started) {
      step.open = vertex.started;
      step.closed = null;
      const { name, stage } = placeOf(step.name, options.stage);
      events.push({
        type: "step-started",
        at: time(vertex.started),
        step: id,
        name: labelled(name, options.labels ?? []),
        stage,
      });
    }
    if (vertex.completed !== undefined && step.closed !== vertex.completed) {
      step.closed = vertex.completed;
      const error = vertex.error ?? "";
      if (error !== "") step.error = error;
      const ended = {
        type: "step-ended",
        at: time(vertex.completed),
        step: id,
        cached: vertex.cached === true,
      } as const;
      events.push(error === "" ? ended : { ...ended, error });
    }
    return events;
  };

  const logEvent = (log: Log): BuildEvent => {
    const step = stepOf(log.vertex);
    const stream = log.stream === 2 ? "stderr" : "stdout";
    const known = step.streams.get(stream) ?? { decoder: new TextDecoder("utf-8", { ignoreBOM: true }), mask: mask.stream() };
    step.streams.set(stream, known);
    // A chunk may end inside a character or a secret: the rest waits for the next one.
    const text = known.mask.take(known.decoder.decode(Buffer.from(log.data ?? "", "base64"), { stream: true }));
    step.tail = (step.tail + text).slice(-tailLength);
    return { type: "step-output", at: time(log.timestamp), step: idOf(log.vertex), stream, text };
  };

  /** The end of what a step said, from all its streams. */
  const restOf = (digest: string, step: Step): BuildEvent[] =>
    [...step.streams].flatMap(([stream, { mask: kept }]): BuildEvent[] => {
      const text = kept.end();
      step.tail = (step.tail + text).slice(-tailLength);
      return text === "" ? [] : [{ type: "step-output", at: latest, step: idOf(digest), stream, text }];
    });

  const statusEvent = (status: Status): BuildEvent => ({
    type: "step-progress",
    at: time(status.timestamp),
    step: idOf(status.vertex),
    what: status.id.replace(/:$/, ""),
    current: status.current ?? 0,
    ...(status.total === undefined || status.total === 0 ? {} : { total: status.total }),
  });

  const warningEvent = (warning: Warning): BuildEvent => ({
    type: "warning",
    at: latest,
    text: [warning.short ?? "", ...(warning.detail ?? [])].map(decoded).filter(Boolean).join("\n"),
  });

  return {
    take(line) {
      const message = parsed(line);
      if (message === null) {
        if (line.trim() !== "") strays.push(line);
        return [];
      }
      return [
        ...(message.vertexes ?? []).flatMap(vertexEvents),
        ...(message.statuses ?? []).map(statusEvent),
        ...(message.logs ?? []).map(logEvent),
        ...(message.warnings ?? []).map(warningEvent),
      ];
    },
    end: () => [...steps].flatMap(([digest, step]) => restOf(digest, step)),
    stray: () => strays,
    failure() {
      const failed = [...steps.values()].filter((step) => step.error !== null);
      const cause = failed.find((step) => !stoppedWithOthers.test(step.error ?? "")) ?? failed[0];
      if (cause === undefined) return null;
      const lines = cause.tail.split("\n").map(shown).filter(Boolean);
      const { name } = placeOf(cause.name, options.stage);
      return { name: labelled(name, options.labels ?? []), error: cause.error ?? "", tail: lines.slice(-tailLines) };
    },
  };
}

const decoded = (base64: string): string => Buffer.from(base64, "base64").toString("utf8").trim();

/** Progress bars overwrite their line: only what stands there in the end is of interest. */
const shown = (line: string): string => line.trimEnd().split("\r").at(-1) ?? "";

const parsed = (line: string): Message | null => {
  if (!line.startsWith("{")) return null;
  try {
    return messageOf(JSON.parse(line));
  } catch {
    return null;
  }
};

type Parts = Readonly<Record<string, unknown>>;
const isParts = (value: unknown): value is Parts => typeof value === "object" && value !== null && !Array.isArray(value);

/** Parts of another shape than BuildKit gives them are left out: progress that cannot be read ends no build. */
const messageOf = (value: unknown): Message | null => {
  if (!isParts(value)) return null;
  const listed = <T>(name: string, texts: readonly string[], more: readonly string[], numbers: readonly string[]): T[] => {
    const list = value[name];
    const fits = (one: unknown): one is Parts =>
      isParts(one) &&
      texts.every((part) => typeof one[part] === "string") &&
      more.every((part) => one[part] === undefined || one[part] === null || typeof one[part] === "string") &&
      numbers.every((part) => one[part] === undefined || Number.isFinite(one[part]));
    return Array.isArray(list) ? (list.filter(fits).map(withoutNulls) as T[]) : [];
  };
  const warnings = listed<Warning>("warnings", [], ["vertex", "short"], []).map((one) => ({
    ...one,
    detail: Array.isArray(one.detail) ? one.detail.filter((text) => typeof text === "string") : [],
  }));
  return {
    vertexes: listed("vertexes", ["digest"], ["name", "started", "completed", "error"], []),
    statuses: listed("statuses", ["id", "vertex"], ["timestamp"], ["current", "total"]),
    logs: listed("logs", ["vertex"], ["data", "timestamp"], ["stream"]),
    warnings,
  };
};

const withoutNulls = (parts: Parts): Parts => Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== null));

/** `[platform stage 2/5] RUN …`: the dockerfile frontend's name of a step; with a single stage it leaves the stage out. */
const numbered = /^\[(?:(?:\S+\/\S+) )?(?:(\S+) )?\d+\/\d+\] (.*)$/s;

const isStage = (name: string | undefined): name is StageName => stageNames.some((stage) => stage === name);

/** Which stage a step works for, and its name without what the stage already says. */
const placeOf = (vertex: string, owner: StageName): { name: string; stage: StageName } => {
  const [, stage, name] = numbered.exec(vertex) ?? [];
  if (name === undefined) return { name: vertex, stage: owner };
  if (stage === undefined) return { name, stage: owner };
  return isStage(stage) ? { name, stage } : { name: `${stage}: ${name}`, stage: owner };
};
