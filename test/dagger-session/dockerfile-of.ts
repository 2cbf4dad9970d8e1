import type { Call, Value } from "./query.js";
import type { Session } from "./session.js";

/** A chain of container fields as a build that BuildKit executes: the Dockerfile and what its names stand for. */
export type Translated = {
  dockerfile: string;
  target: string;
  /** Folders that are read by name. */
  folders: Record<string, string>;
  /** Images in a tar that are named. */
  tars: Record<string, string>;
  /** Files that hold the secrets. */
  secrets: Record<string, string>;
};

/** A folder of this machine for a chain of directory fields without containers in it. */
export type FolderOf = (chain: readonly Call[]) => string;

/**
 * What is asked of an engine, told to another one that is real: Dagger executes its containers with BuildKit too. One field becomes one
 * instruction, by the field's documentation alone. Knows the fields that our renderer uses and refuses all others.
 */
export const dockerfileOf = (session: Session, chain: readonly Call[], folderOf: FolderOf): Translated => {
  const stages: string[] = [];
  const known = new Map<string, string>();
  const made: Omit<Translated, "dockerfile" | "target"> = { folders: {}, tars: {}, secrets: {} };

  const once = (kind: string, chain: readonly Call[], write: (name: string) => string[]): string => {
    const key = JSON.stringify(chain);
    const name = known.get(key) ?? `${kind}${known.size}`;
    if (!known.has(key)) {
      known.set(key, name);
      const lines = write(name);
      if (lines.length > 0) stages.push(lines.join("\n"));
    }
    return name;
  };
  const chainOf = (id: Value | undefined): readonly Call[] => session.chainOf(id) ?? fail(`no object ${String(id)}`);

  const folder = (chain: readonly Call[]): string => {
    const built = chain.some(({ field }) => field === "withDirectory" || field === "withFile");
    if (!built) {
      return once("folder", chain, (name) => {
        made.folders[name] = folderOf(chain);
        return [];
      });
    }
    return once("tree", chain, (own) => [
      `FROM scratch AS ${own}`,
      ...chain.flatMap(({ field, args }) => {
        if (field === "directory") return [];
        const to = words(args["path"]);
        if (field === "withDirectory") {
          const source = chainOf(args["source"]);
          const last = source.at(-1)!;
          return source[0]!.field === "container" && last.field === "directory"
            ? [`COPY --from=${container(source.slice(0, -1))} ${slashed(words(last.args["path"]))} ${slashed(to)}`]
            : [`COPY --from=${folder(source)} . ${slashed(to)}`];
        }
        const { from, path } = file(chainOf(args["source"]));
        return field === "withFile" ? [`COPY --from=${from} ${path} ${to}`] : fail(field);
      }),
    ]);
  };

  const file = (chain: readonly Call[]): { from: string; path: string } => {
    const last = chain.at(-1)!;
    if (last.field === "http") {
      const { url, checksum } = last.args;
      const name = once("download", chain, (own) => [
        `FROM scratch AS ${own}`,
        `ADD --checksum=${words(checksum)} ${words(url)} /file`,
      ]);
      return { from: name, path: "/file" };
    }
    if (last.field !== "file") return fail(last.field);
    const above = chain.slice(0, -1);
    const path = words(last.args["path"]);
    return above[0]?.field === "container" ? { from: container(above), path } : { from: folder(above), path: `/${path}` };
  };

  const container = (chain: readonly Call[]): string => {
    const [, ...fields] = chain;
    const start = fields.find(({ field }) => ["from", "import", "withRootfs"].includes(field));
    if (start === undefined) return fail("a container without an image");
    return once("stage", chain, (own) => {
      let mounts: { target: string; flag: string }[] = [];
      const mount = (args: Call["args"], flag: string) =>
        mounts.push({ target: words(args["path"]), flag: `--mount=${flag},target=${words(args["path"])}` });
      const lines = fields.flatMap(({ field, args }): string[] => {
        switch (field) {
          case "from":
            return [`FROM ${words(args["address"])} AS ${own}`];
          case "import":
            made.tars[`image-${own}`] = folderOf(chainOf(args["source"]));
            return [`FROM image-${own} AS ${own}`];
          case "withRootfs":
            return [`FROM scratch AS ${own}`, `COPY --from=${folder(chainOf(args["directory"]))} / /`];
          case "withMountedCache":
            mount(args, `type=cache,id=${words(args["cache"] && chainOf(args["cache"]).at(-1)!.args["key"])},sharing=locked`);
            return [];
          case "withMountedFile": {
            const { from, path } = file(chainOf(args["source"]));
            mount(args, `type=bind,from=${from},source=${path}`);
            return [];
          }
          case "withMountedDirectory": {
            mount(args, `type=bind,from=${folder(chainOf(args["source"]))},source=/`);
            return [];
          }
          case "withMountedSecret": {
            const [secret] = chainOf(args["source"]);
            const id = `secret${Object.keys(made.secrets).length}`;
            made.secrets[id] = words(secret!.args["uri"]).replace(/^file:\/\//, "");
            mount(args, `type=secret,id=${id}`);
            return [];
          }
          case "withoutMount":
            mounts = mounts.filter(({ target }) => target !== args["path"]);
            return [];
          case "withExec":
            return [
              `RUN ${args["insecureRootCapabilities"] === true ? "--security=insecure " : ""}${mounts.map(({ flag }) => `${flag} `).join("")}${JSON.stringify(args["args"])}`,
            ];
          case "withDirectory":
            return [`COPY --from=${folder(chainOf(args["source"]))} . ${words(args["path"])}`];
          case "withEnvVariable":
            return args["name"] === "IMAGE_FACTORY_FRESH"
              ? []
              : [`ENV ${words(args["name"])}=${envValue(args["value"], args["expand"] === true)}`];
          case "withoutEnvVariable":
            return args["name"] === "IMAGE_FACTORY_FRESH" ? [] : fail(field);
          case "withWorkdir":
            return [`WORKDIR ${words(args["path"])}`];
          case "withUser":
            return [`USER ${words(args["name"])}`];
          case "withLabel":
            return [`LABEL ${JSON.stringify(args["name"])}=${JSON.stringify(args["value"])}`];
          case "withEntrypoint":
            return [`ENTRYPOINT ${JSON.stringify(args["args"])}`];
          case "withDefaultArgs":
            return [`CMD ${JSON.stringify(args["args"])}`];
          case "withDockerHealthcheck":
            return [healthcheck(args)];
          // No instruction writes annotations, and a registry's login is BuildKit's own business.
          case "withAnnotation":
          case "withRegistryAuth":
            return [];
          default:
            return fail(field);
        }
      });
      return lines;
    });
  };

  const target = container(chain);
  return { ...made, dockerfile: `${stages.join("\n\n")}\n`, target };
};

const fail = (what: string): never => {
  throw new Error(`no instruction for ${what}`);
};

const healthcheck = (args: Call["args"]): string => {
  const flags = ["interval", "timeout", "startPeriod", "retries"].map((name) => {
    const flag = name === "startPeriod" ? "start-period" : name;
    return `--${flag}=${JSON.stringify(args[name]).replaceAll('"', "")}`;
  });
  return `HEALTHCHECK ${flags.join(" ")} CMD ${JSON.stringify(args["args"])}`;
};

const envValue = (value: Value | undefined, expand: boolean): string =>
  expand ? JSON.stringify(value) : JSON.stringify(value).replaceAll("$", "\\$");

/** A text of a query as a word of an instruction; the tests keep to those that need no quotes. */
const words = (value: Value | undefined): string =>
  typeof value === "string" && !/[\s"'\\$,]/.test(value) ? value : fail(`the word ${JSON.stringify(value)}`);
const slashed = (path: string): string => (path.endsWith("/") ? path : `${path}/`);
