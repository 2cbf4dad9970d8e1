import { tmpdir } from "node:os";
import { findProgram, type HostEnv } from "../io/host.js";
import { run } from "../io/process.js";
import { daggerEngine } from "./dagger.js";
import type { Engine, Readiness } from "./engine.js";

/** The releases whose API the module and the client speak. */
const release = /^v?0\.21\./;
/** Milliseconds that an engine has to answer. One that was asked for by name may have to be started, and its image pulled, first. */
const patience = { found: 20_000, asked: 300_000 } as const;

const fix =
  "install the Dagger CLI 0.21 and a container runtime that it can start its engine with (https://docs.dagger.io/install)";

/**
 * A Dagger engine: the session of `dagger run` that this process stands in, or whatever the CLI on PATH reaches. Asked from an empty
 * folder, so that nobody's module is loaded for it.
 */
export async function daggerCandidate(env: HostEnv, asked: boolean): Promise<{ readiness: Readiness; make(): Engine }> {
  if (env["DAGGER_SESSION_PORT"] !== undefined && env["DAGGER_SESSION_TOKEN"] !== undefined) {
    const make = () => daggerEngine("session of dagger run", null);
    return { readiness: { ready: true, why: "DAGGER_SESSION_PORT is set" }, make };
  }
  const cli = env["_EXPERIMENTAL_DAGGER_CLI_BIN"] ?? (await findProgram("dagger", env));
  const make = () => daggerEngine(cli ?? "dagger", cli);
  if (cli === null) return { readiness: { ready: false, why: "dagger is not on PATH", fix }, make };
  return { readiness: await answers(cli, asked ? patience.asked : patience.found), make };
}

const answers = async (cli: string, timeout: number): Promise<Readiness> => {
  const said = await run(cli, ["--silent", "query", "--no-mod"], { cwd: tmpdir(), input: "{ version }", timeout });
  const version = /"version":\s*"([^"]+)"/.exec(said.stdout)?.[1];
  if (version === undefined) {
    const last = said.stderr.trim().split("\n").at(-1) ?? "";
    return {
      ready: false,
      why: `${cli} reaches no engine: ${last}`,
      fix: "start a container runtime, or name an engine: _EXPERIMENTAL_DAGGER_RUNNER_HOST",
    };
  }
  return release.test(version)
    ? { ready: true, why: `engine ${version} answers` }
    : { ready: false, why: `engine ${version} is another release than 0.21`, fix };
};
