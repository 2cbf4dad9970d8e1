import { createHash } from "node:crypto";
import { chmod, lstat, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { FactoryError, interrupted } from "../../../dagger/src/pipeline/common/error.js";
import { isAlive } from "../../host/process-lock.js";
import { run } from "../../host/process.js";
import { sweepTemporary } from "./daemon-temporary.js";

/** Everything of one embedded daemon: BuildKit's state, the socket, who uses it. */
export type Places = {
  folder: string;
  root: string;
  config: string;
  /** The daemon's temporary files: its own, so that what a killed one left mounted is found. */
  temporary: string;
  log: string;
  /** The daemon's process name, and that of the process that watches over it. */
  daemon: string;
  supervisor: string;
  /** One file for each process that uses the daemon, and `keep` while it is to outlive them. */
  holders: string;
  /** Present while the daemon is about to stop because nobody holds it. */
  stopping: string;
  lock: string;
  sockets: string;
  socket: string;
};

/** The kernel takes 108 bytes for a socket's path, the last of them zero; BuildKit's own sockets get the same folder. */
const longestSocketPath = 107;

/** BuildKit's client takes an address for a URL and for a target of gRPC: what means something there ends the path, or is refused. */
const isAddressable = (folder: string): boolean => {
  const socket = join(folder, "buildkitd.sock");
  return Buffer.byteLength(socket) <= longestSocketPath && /^[A-Za-z0-9/._-]+$/.test(socket);
};

export const placesOf = (engine: string): Places => {
  const own = join(engine, "run");
  const short = `image-factory-${createHash("sha256").update(engine).digest("hex").slice(0, 12)}`;
  const sockets = [own, join(tmpdir(), short)].find(isAddressable) ?? join("/tmp", short);
  return {
    folder: engine,
    root: join(engine, "root"),
    config: join(engine, "buildkitd.toml"),
    temporary: join(engine, "temporary"),
    log: join(engine, "buildkitd.log"),
    daemon: join(engine, "daemon"),
    supervisor: join(engine, "supervisor"),
    holders: join(engine, "holders"),
    stopping: join(engine, "stopping"),
    lock: join(engine, "lock"),
    sockets,
    socket: join(sockets, "buildkitd.sock"),
  };
};

/** The process name of the daemon that answers on the socket, or null. */
export async function runningDaemon(places: Places): Promise<string | null> {
  const name = await nameIn(places.daemon);
  return isAlive(name) && (await answers(places.socket)) ? name : null;
}

const nameIn = (file: string): Promise<string> =>
  readFile(file, "utf8").then(
    (text) => text.trim(),
    () => "",
  );

const answers = (socket: string): Promise<boolean> =>
  new Promise((resolve) => {
    const client = connect(socket);
    const end = (result: boolean) => () => {
      client.destroy();
      resolve(result);
    };
    client.once("connect", end(true)).once("error", end(false));
  });

/**
 * Stands between this program and the daemon, in a session of its own, so that Ctrl-C ends the build and not the daemon,
 * and so that a daemon whose users were all killed does not stay for ever: it looks for a living holder every few seconds.
 * The note `stopping` is written before the last look, and a caller looks for the note after it has written its name:
 * one of them always sees the other.
 */
const supervisor = `
name() { stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; stat=\${stat##*) }; pid=$1; set -- $stat; [ "$1" != Z ] && echo "$pid-\${20}"; }
held() {
  for file in holders/*; do
    holder=\${file##*/}
    [ "$holder" = keep ] && return 0
    started=\${holder#*-}
    [ "$(name "\${holder%%-*}")" = "\${holder%%-*}-\${started%%-*}" ] && return 0
  done
  return 1
}
cd "$1" || exit 1
shift
name "$$" >supervisor.new && mv supervisor.new supervisor
"$@" >buildkitd.log 2>&1 </dev/null &
daemon=$!
name "$daemon" >daemon.new && mv daemon.new daemon
( while sleep 3; do
    held && continue
    : >stopping
    held || { kill "$daemon"; exit; }
    rm -f stopping
  done ) >/dev/null 2>&1 </dev/null &
watch=$!
wait "$daemon"
kill "$watch" 2>/dev/null
`;

const waits = { start: 60_000, stop: 20_000, look: 25 };

/**
 * Starts the daemon and waits until it answers. Call it under the lock, with a holder's file in place.
 * @throws FactoryError ENGINE_FAILED with the daemon's last words, PERMISSION, INTERRUPTED
 */
export async function startDaemon(
  places: Places,
  command: readonly [string, ...string[]],
  config: string,
  env: Readonly<Record<string, string | undefined>>,
  signal?: AbortSignal,
): Promise<void> {
  await ownFolder(places.sockets);
  await mkdir(places.root, { recursive: true });
  await forget(places);
  await mkdir(places.temporary, { recursive: true, mode: 0o700 });
  await writeFile(places.config, config);
  await writeFile(places.log, "");
  // sh returns at once; setsid takes the rest out of the terminal's reach. Its streams must not be those that run() waits for.
  const background = 'setsid sh -c "$0" supervisor "$@" >/dev/null 2>&1 </dev/null &';
  await run("sh", ["-c", background, supervisor, places.folder, ...command], { env: { ...env, TMPDIR: places.temporary } });
  const end = Date.now() + waits.start;
  while ((await runningDaemon(places)) === null) {
    if (signal?.aborted) throw interrupted("stopped on request while the engine started");
    const watcher = await nameIn(places.supervisor);
    const ended = watcher !== "" && !isAlive(watcher);
    if (ended || Date.now() > end) throw failed(places, await lastWords(places));
    await pause(waits.look);
  }
}

/** Asks the daemon to end, and makes it end when it does not. Nothing happens when none runs. */
export async function stopDaemon(places: Places): Promise<boolean> {
  const [daemon, watcher] = await Promise.all([nameIn(places.daemon), nameIn(places.supervisor)]);
  const stood = isAlive(daemon);
  const ended = async (milliseconds: number): Promise<boolean> => {
    const end = Date.now() + milliseconds;
    for (;;) {
      if (!isAlive(daemon) && !isAlive(watcher)) return true;
      if (Date.now() > end) return false;
      await pause(waits.look);
    }
  };
  if (stood) signalTo(daemon, "SIGTERM");
  if (!(await ended(waits.stop))) {
    signalTo(daemon, "SIGKILL");
    signalTo(watcher, "SIGKILL");
    await ended(waits.stop);
  }
  await forget(places);
  if (places.sockets !== join(places.folder, "run")) await rm(places.sockets, { recursive: true, force: true });
  return stood;
}

/** Takes away what a daemon that is gone left: its notes, its mounts, its temporary files. */
async function forget(places: Places): Promise<void> {
  const notes = [places.socket, places.daemon, places.supervisor, places.stopping];
  await Promise.all([sweepTemporary(places.temporary), ...notes.map((path) => rm(path, { force: true }))]);
}

const signalTo = (name: string, signal: NodeJS.Signals): void => {
  const pid = Number(name.split("-")[0]);
  // Zero would be this program's own process group.
  if (!(pid > 1)) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself meanwhile.
  }
};

/** A folder for sockets that is ours alone: the short one stands where everybody may write. */
async function ownFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const found = await lstat(folder);
  const uid = process.getuid?.() ?? found.uid;
  if (!found.isDirectory() || found.uid !== uid) {
    throw new FactoryError("PERMISSION", {
      what: `cannot put the engine's socket into ${folder}`,
      why: "it belongs to someone else",
      fix: "remove it, or set FACTORY_STATE to a folder with a shorter path",
    });
  }
  await chmod(folder, 0o700);
}

const lastWords = async (places: Places): Promise<string> => {
  const text = await readFile(places.log, "utf8").catch(() => "");
  // Go prints where in its code it failed: places, and names of functions without a space.
  const telling = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("\t") && line.includes(" "));
  return telling.slice(-8).join("\n");
};

const failed = (places: Places, words: string) =>
  new FactoryError("ENGINE_FAILED", {
    what: "the embedded engine does not start",
    why: words === "" ? "it says nothing" : words,
    fix: `see ${places.log}; it takes root on Linux (privileged in a container), else use BUILDKIT_HOST or a docker buildx builder`,
  });
