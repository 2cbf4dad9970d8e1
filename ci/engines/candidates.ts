import { existsSync } from "node:fs";
import { findProgram, type HostEnv } from "../host/programs.js";
import { type Finished, run } from "../host/process.js";
import { areBuilt, binariesIn, ensureBinaries } from "./embedded/binaries.js";
import type { Connection } from "./buildkit/buildkit-engine.js";
import { acquireEmbedded, embeddedReadiness, type Setup } from "./embedded/lease.js";
import type { Feature, Readiness } from "./interface/engine.js";
import { inTime } from "./interface/in-time.js";

/** A BuildKit that could be used: by what it is found, whether it is there, and the way to it. */
export type Candidate = { name: string; readiness: Readiness; connection: Connection };

const features: ReadonlySet<Feature> = new Set(["secrets", "emulation", "dockerfiles"]);

/** Schemes that buildctl itself resolves; the ones with a container in them call docker, kubectl and so on. */
const schemes = /^(unix|tcp|ssh|docker-container|podman-container|nerdctl-container|kube-pod|npipe):\/\//;

/** The daemon that BUILDKIT_HOST names. buildctl comes from PATH, or is compiled with the embedded engine's. */
export async function remoteCandidate(setup: Setup): Promise<Candidate> {
  const { state, env, report } = setup;
  const address = dialled(env["BUILDKIT_HOST"] ?? "");
  const buildctl = await readyBuildctl(setup);
  const connection: Connection = {
    address: `BUILDKIT_HOST ${address}`,
    features,
    open: async (signal) => ({
      client: {
        kind: "buildctl",
        address,
        program: buildctl ?? (await ensureBinaries(state.cache, env, report, signal)).buildctl,
      },
      close: async () => undefined,
    }),
  };
  return { name: "BUILDKIT_HOST", connection, readiness: await remoteReadiness(address, buildctl) };
}

/** buildctl reads an address as a URL: of a socket's path it would take # and ? for the end, and % for the start of something else. */
const dialled = (address: string): string => {
  const path = /^unix:\/\/(.*)$/s.exec(address)?.[1];
  return path !== undefined && existsSync(path) ? `unix://${path.replaceAll(/[%#?]/g, encodeURIComponent)}` : address;
};

async function remoteReadiness(address: string, buildctl: string | null): Promise<Readiness> {
  if (address === "") return { ready: false, why: "not set", fix: "export BUILDKIT_HOST=tcp://host:1234" };
  if (!schemes.test(address))
    return {
      ready: false,
      why: `${address} is no address`,
      fix: "write it like unix:///run/buildkit/buildkitd.sock or tcp://host:1234",
    };
  // Asking a daemon takes a client; one that must be compiled first is asked when the build starts.
  if (buildctl === null) return { ready: true, why: "BUILDKIT_HOST is set" };
  const asked = await inTime(
    run(buildctl, ["--addr", address, "--timeout", "5", "debug", "workers"], { timeout: answerTime }),
    answerTime + 1_000,
    () => silent,
  );
  if (asked.exitCode === 0) return { ready: true, why: "BUILDKIT_HOST is set, and it answers" };
  const why = asked.stderr.trim().split("\n").at(-1) ?? "";
  return {
    ready: false,
    why: `${address} does not answer: ${why}`,
    fix: "start that daemon, or unset BUILDKIT_HOST",
  };
}

async function readyBuildctl({ state, env }: Setup): Promise<string | null> {
  const ours = await binariesIn(state.cache);
  return (await areBuilt(ours)) ? ours.buildctl : findProgram("buildctl", env);
}

/** The current docker buildx builder (or the one in BUILDX_BUILDER), if it can export an OCI layout. */
export async function buildxCandidate({ env }: Setup): Promise<Candidate> {
  const docker = await findProgram("docker", env);
  const builder = docker === null ? { why: "docker is not on PATH" } : await usableBuilder(docker, env);
  const connection = (name: string): Connection => ({
    address: `docker buildx builder ${name}`,
    features,
    open: async () => ({
      client: { kind: "buildx", docker: docker ?? "docker", builder: name },
      close: async () => undefined,
    }),
  });
  const fix = "start Docker, and create a builder: docker buildx create --use";
  return "why" in builder
    ? {
        name: "docker buildx",
        connection: connection(""),
        readiness: { ready: false, why: builder.why, fix },
      }
    : {
        name: "docker buildx",
        connection: connection(builder.name),
        readiness: { ready: true, why: `builder ${builder.name} (${builder.driver})` },
      };
}

/** Milliseconds that a client has for an answer. */
const answerTime = 15_000;
const silent: Finished = { exitCode: 128, stdout: "", stderr: "no answer" };

type Builder = { name: string; driver: string };

async function usableBuilder(docker: string, env: HostEnv): Promise<Builder | { why: string }> {
  const ask = (...args: string[]) => inTime(run(docker, args, { timeout: answerTime, env }), answerTime + 1_000, () => silent);
  const inspected = await ask("buildx", "inspect", ...(env["BUILDX_BUILDER"] === undefined ? [] : [env["BUILDX_BUILDER"]]));
  const name = /^Name:\s*(\S+)/m.exec(inspected.stdout)?.[1];
  const driver = /^Driver:\s*(\S+)/m.exec(inspected.stdout)?.[1];
  if (inspected.exitCode !== 0 || name === undefined || driver === undefined) {
    return {
      why: `\`docker buildx inspect\` exited ${inspected.exitCode}: ${firstLine(inspected.stderr)}`,
    };
  }
  // Builders that run elsewhere need no Docker server on this machine.
  if (driver === "remote" || driver === "kubernetes" || driver === "cloud") return { name, driver };
  const server = await ask("version", "--format", "{{.Server.Version}}");
  if (server.exitCode !== 0) return { why: `no Docker server: ${firstLine(server.stderr)}` };
  if (driver !== "docker") return { name, driver };
  const info = await ask("info", "--format", "{{json .DriverStatus}}");
  if (info.stdout.includes("io.containerd.snapshotter")) return { name, driver };
  return {
    why: `builder ${name} has the docker driver without the containerd image store, which exports no OCI layout`,
  };
}

const firstLine = (text: string): string => text.trim().split("\n")[0] ?? "";

/** The daemon that comes with this project. */
export async function embeddedCandidate(setup: Setup): Promise<Candidate> {
  return {
    name: "embedded",
    readiness: await embeddedReadiness(setup),
    connection: {
      address: "embedded",
      features: new Set([...features, "prune"]),
      async open(signal) {
        const lease = await acquireEmbedded(setup, signal);
        return {
          client: { kind: "buildctl", program: lease.buildctl, address: lease.address },
          close: lease.release,
        };
      },
    },
  };
}
