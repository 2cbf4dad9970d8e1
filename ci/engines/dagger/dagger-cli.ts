import { tmpdir } from "node:os";
import { findProgram, type HostEnv } from "../../host/programs.js";
import { run } from "../../host/process.js";
import { daggerEngine } from "./dagger-engine.js";
import type { Engine, Readiness } from "../interface/engine.js";
import { inTime } from "../interface/in-time.js";

/** The releases whose API the module and the client speak. */
const release = /^v?0\.21\./;
/** Milliseconds that an engine has to answer. One that was asked for by name may have to be started, and its image pulled, first. */
const answerTimes = { found: 20_000, asked: 300_000 } as const;

const fix =
  "install the Dagger CLI 0.21 and a container runtime that it can start its engine with (https://docs.dagger.io/install)";

/**
 * A Dagger engine: the session of `dagger run` that this process stands in, or whatever the CLI on PATH reaches. Asked from an empty
 * folder, so that nobody's module is loaded for it.
 */
export async function daggerCandidate(env: HostEnv, asked: boolean): Promise<{ readiness: Readiness; make(): Engine }> {
  const [port, token] = [env["DAGGER_SESSION_PORT"], env["DAGGER_SESSION_TOKEN"]];
  if (port !== undefined && token !== undefined) {
    const make = () => daggerEngine("session of dagger run", null);
    return { readiness: await sessionAnswers(port, token), make };
  }
  const cli = env["_EXPERIMENTAL_DAGGER_CLI_BIN"] ?? (await findProgram("dagger", env));
  const make = () => daggerEngine(cli ?? "dagger", cli);
  if (cli === null) return { readiness: { ready: false, why: "dagger is not on PATH", fix }, make };
  return { readiness: await answers(cli, asked ? answerTimes.asked : answerTimes.found), make };
}

const answers = async (cli: string, timeout: number): Promise<Readiness> => {
  const asked = run(cli, ["--silent", "query", "--no-mod"], { cwd: tmpdir(), input: "{ version }", timeout });
  const said = await inTime(asked, timeout + 1_000, () => ({
    exitCode: 128,
    stdout: "",
    stderr: `no answer in ${timeout / 1000} s`,
  }));
  const version = /"version":\s*"([^"]+)"/.exec(said.stdout)?.[1];
  if (version !== undefined) return speaks(version);
  const last = said.stderr.trim().split("\n").at(-1) || `it ended with exit code ${said.exitCode} and named no version`;
  return {
    ready: false,
    why: `${cli} reaches no engine: ${last}`,
    fix: "start a container runtime, or name an engine: _EXPERIMENTAL_DAGGER_RUNNER_HOST",
  };
};

/** The session's variables outlive it in a shell that was started inside. */
const sessionAnswers = async (port: string, token: string): Promise<Readiness> => {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/query`, {
      method: "POST",
      headers: {
        authorization: `Basic ${Buffer.from(`${token}:`).toString("base64")}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ query: "{ version }" }),
      signal: AbortSignal.timeout(answerTimes.found),
    });
    const version = /"version":\s*"([^"]+)"/.exec(await answer.text())?.[1];
    if (version !== undefined) return speaks(version);
    return { ready: false, why: `the session of dagger run answers ${answer.status} and names no version`, fix: unset };
  } catch (error) {
    const { cause, message } = error as Error;
    const why = cause instanceof Error ? cause.message : message;
    return { ready: false, why: `the session of dagger run (DAGGER_SESSION_PORT=${port}) does not answer: ${why}`, fix: unset };
  }
};

const unset = "unset DAGGER_SESSION_PORT DAGGER_SESSION_TOKEN, or start this inside: dagger run";

const speaks = (version: string): Readiness =>
  release.test(version)
    ? { ready: true, why: `engine ${version} answers` }
    : { ready: false, why: `engine ${version} is another release than 0.21`, fix };
