import type { ConfigChange, Step } from "../steps/step.js";
import { withoutEnd } from "../common/without-end.js";

/** An image's config (OCI image spec 1.1, config.md), with Docker's additions (`Healthcheck`) where they are. */
export type ImageConfig = {
  architecture: string;
  os: string;
  variant?: string;
  "os.version"?: string;
  "os.features"?: readonly string[];
  author?: string;
  created?: string;
  config?: RuntimeConfig;
  rootfs: { type: string; diff_ids: readonly string[] };
  history?: readonly History[];
};

export type RuntimeConfig = {
  Env?: readonly string[] | null;
  Entrypoint?: readonly string[] | null;
  Cmd?: readonly string[] | null;
  Labels?: Readonly<Record<string, string>> | null;
  WorkingDir?: string;
  User?: string;
  /** Volumes, ExposedPorts, StopSignal and whatever else a base brings. */
  [other: string]: unknown;
};

type History = { created?: string; created_by?: string; author?: string; comment?: string; empty_layer?: boolean };

/** What an assembled stage adds: config changes, and a layer where it changes files. */
export type StagePart = { steps: readonly Step[]; layer: { diffId: string } | null; createdBy: string };

/** What a config without a PATH gets from every builder. */
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * The config of an image that is built on another. How each field is merged is what builders do with the same instructions:
 *
 * | field | rule |
 * |---|---|
 * | Env | a name that is there keeps its place and gets the new value; new ones follow, by name; without PATH the usual one |
 * | PATH | the stage's folders in front of what is there, after Env |
 * | Entrypoint | replaced; resets an inherited Cmd |
 * | Cmd, WorkingDir, User, Healthcheck | replaced |
 * | Labels | merged by name |
 * | Volumes, ExposedPorts, StopSignal, Shell, others | inherited |
 * | OnBuild | dropped: its triggers belong to a build that stands directly on the base |
 * | ArgsEscaped | dropped with the Cmd or Entrypoint that it spoke of |
 * | created | the epoch |
 * | rootfs, history | inherited, then one entry a stage; a stage without files is an empty_layer |
 */
export const imageConfig = (base: ImageConfig, parts: readonly StagePart[], epoch: number): ImageConfig => {
  const created = timeOf(epoch);
  const changes = parts.flatMap(({ steps }) => steps.flatMap((step) => (step.do === "config" ? [step.change] : [])));
  const config = changes.reduce(changed, inherited(base.config ?? {}));
  const { architecture, os, variant, author } = base;
  return {
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    ...(base["os.version"] === undefined ? {} : { "os.version": base["os.version"] }),
    ...(base["os.features"] === undefined ? {} : { "os.features": base["os.features"] }),
    ...(author === undefined ? {} : { author }),
    created,
    config,
    rootfs: {
      type: "layers",
      diff_ids: [...base.rootfs.diff_ids, ...parts.flatMap(({ layer }) => (layer === null ? [] : [layer.diffId]))],
    },
    history: [
      ...wholeHistory(base, created),
      ...parts.map(({ layer, createdBy }) => ({
        created,
        created_by: createdBy,
        ...(layer === null ? { empty_layer: true } : {}),
      })),
    ],
  };
};

/** Seconds since the Unix epoch, as Go and so every registry tool writes it (RFC 3339 without fractions). */
export const timeOf = (epoch: number): string => new Date(epoch * 1000).toISOString().replace(".000Z", "Z");

const inherited = ({ OnBuild: _dropped, ...config }: RuntimeConfig): RuntimeConfig => {
  const kept = Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null)) as RuntimeConfig;
  const env = kept.Env ?? [];
  return { ...kept, Env: env.some((line) => line.startsWith("PATH=")) ? env : [...env, defaultPath] };
};

const changed = (config: RuntimeConfig, change: ConfigChange): RuntimeConfig => {
  const { ArgsEscaped: _escaped, Cmd, ...rest } = config;
  const replaced = change.entrypoint !== null || change.cmd !== null;
  const cmd = change.cmd ?? (change.entrypoint === null ? Cmd : null);
  return {
    ...(replaced ? rest : config),
    ...(replaced && cmd !== null && cmd !== undefined ? { Cmd: cmd } : {}),
    ...(change.entrypoint === null ? {} : { Entrypoint: change.entrypoint }),
    ...(change.workdir === null ? {} : { WorkingDir: withoutEnd(change.workdir, "/") || "/" }),
    ...(change.user === null ? {} : { User: change.user }),
    ...(Object.keys(change.labels).length === 0 ? {} : { Labels: { ...config.Labels, ...change.labels } }),
    ...(change.healthcheck === null ? {} : { Healthcheck: healthcheck(change.healthcheck) }),
    Env: withPath(environment(config.Env ?? [], change.env), change.path ?? []),
  };
};

const environment = (lines: readonly string[], change: ConfigChange["env"]): string[] => {
  const nameOf = (line: string) => line.slice(0, Math.max(0, line.indexOf("="))) || line;
  const kept = lines.map((line) => (Object.hasOwn(change, nameOf(line)) ? `${nameOf(line)}=${change[nameOf(line)]}` : line));
  const there = new Set(lines.map(nameOf));
  const added = Object.keys(change)
    .filter((name) => !there.has(name))
    .sort();
  return [...kept, ...added.map((name) => `${name}=${change[name]}`)];
};

const withPath = (lines: readonly string[], folders: readonly string[]): readonly string[] =>
  folders.length === 0
    ? lines
    : lines.map((line) => (line.startsWith("PATH=") ? `PATH=${[...folders, line.slice("PATH=".length)].join(":")}` : line));

/** Durations in nanoseconds; what is 0 is left out, as Go leaves it out. */
const healthcheck = ({ test, interval, timeout, startPeriod, retries }: NonNullable<ConfigChange["healthcheck"]>) => ({
  Test: ["CMD", ...test],
  ...(interval === 0 ? {} : { Interval: interval }),
  ...(timeout === 0 ? {} : { Timeout: timeout }),
  ...(startPeriod === 0 ? {} : { StartPeriod: startPeriod }),
  ...(retries === 0 ? {} : { Retries: retries }),
});

/** As many entries that speak of a layer as there are layers: some bases have fewer, and `docker history` then tells nonsense. */
const wholeHistory = (base: ImageConfig, created: string): History[] => {
  const history = [...(base.history ?? [])];
  const missing = base.rootfs.diff_ids.length - history.filter((entry) => entry.empty_layer !== true).length;
  return [...history, ...Array.from({ length: Math.max(0, missing) }, () => ({ created, created_by: "unknown (base image)" }))];
};
