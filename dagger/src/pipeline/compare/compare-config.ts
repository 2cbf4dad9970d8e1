import type { Allowance } from "./allowances.js";
import type { ImageDifference } from "./image-difference.js";
import type { ImageConfig } from "../oci/image-config.js";
import { canonical } from "../common/canonical.js";

type ConfigDifference = Extract<ImageDifference, { differs: "config" }>;

/** What two configs say differently, field by field: `config.Env.PATH`, `config.Healthcheck.Interval`. What is empty is absent, as Go writes it. */
export const configDifferences = (a: ImageConfig, b: ImageConfig, ignore: ReadonlySet<Allowance>): ConfigDifference[] => {
  const [was, now] = [fieldsOf(a, ignore), fieldsOf(b, ignore)];
  return [...new Set([...was.keys(), ...now.keys()])]
    .sort()
    .filter((field) => was.get(field) !== now.get(field))
    .map((field) => ({ differs: "config", field, a: was.get(field) ?? null, b: now.get(field) ?? null }));
};

const notesOf = {
  image: new Set(["id", "parent", "container", "container_config", "docker_version"]),
  runtime: new Set(
    "Hostname Domainname Image AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce ArgsEscaped".split(" "),
  ),
  labels: new Set(["io.buildah.version"]),
};

const fieldsOf = (config: ImageConfig, ignore: ReadonlySet<Allowance>): Map<string, string> => {
  const fields = new Map<string, string>();
  const put = (name: string, value: unknown) => {
    if (!isEmpty(value)) fields.set(name, typeof value === "string" ? value : canonical(value));
  };
  const notes = ignore.has("builder-notes");
  for (const [name, value] of Object.entries(config)) {
    if (notes && notesOf.image.has(name)) continue;
    if ((name === "created" || name === "history") && ignore.has(name)) continue;
    if (name === "variant" && value === "v8" && config.architecture === "arm64" && ignore.has("variant")) continue;
    if (name === "rootfs") {
      if (!ignore.has("layers")) put("rootfs", value);
    } else if (name !== "config") put(name, value);
  }
  for (const [name, value] of Object.entries(config.config ?? {})) {
    if (notes && notesOf.runtime.has(name)) continue;
    if (name === "Env") {
      const lines = (value ?? []) as readonly string[];
      for (const line of lines) fields.set(`config.Env.${line.split("=", 1)[0]}`, line.slice(line.indexOf("=") + 1));
      if (!ignore.has("env-order")) put("config.Env, order", lines.map((line) => line.split("=", 1)[0]).join(" "));
    } else if (isRecord(value)) {
      for (const [key, one] of Object.entries(value))
        if (!(notes && name === "Labels" && notesOf.labels.has(key))) putAny(fields, `config.${name}.${key}`, one);
    } else put(`config.${name}`, value);
  }
  return fields;
};

/** A member of a map counts although its value is empty: `Volumes: { "/data": {} }`, a label without a text. */
const putAny = (fields: Map<string, string>, name: string, value: unknown): void => {
  // Of a healthcheck a zero is absent, as Docker has it.
  if (name.startsWith("config.Healthcheck.") && isEmpty(value)) return;
  fields.set(name, typeof value === "string" ? value : canonical(value));
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === "" ||
  value === 0 ||
  value === false ||
  (typeof value === "object" && Object.keys(value).length === 0);
