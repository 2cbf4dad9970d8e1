/**
 * # ci/view
 *
 * What is drawn on a terminal or written to a log. A view reads events and values, and decides nothing.
 */
import type { BuildEvent } from "../../dagger/src/pipeline/common/build-event.js";
import { live } from "./live.js";
import { noProgress, plain, plainTick, type Progress, type ViewOptions } from "./progress.js";

/** The part of process.stderr that is needed. */
export type Screen = {
  write(text: string): unknown;
  columns?: number | undefined;
  rows?: number | undefined;
};

/** Shows events as they come. `close` leaves the terminal as it was found; nothing may be shown after it. */
export type Display = { event(event: BuildEvent): void; close(): void };

const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";
/** Milliseconds between two frames, and between two looks for silent steps. */
const every = { frame: 100, tick: 1_000 };

/** For a log: appends lines, never goes back. */
export function openPlain(screen: Screen, options: ViewOptions): Display {
  const lines = { ...options, starts: true };
  let progress: Progress = noProgress;
  const write = (lines: readonly string[]) => lines.forEach((line) => screen.write(`${line}\n`));
  const show = (told: { progress: Progress; lines: string[] }) => {
    progress = told.progress;
    write(told.lines);
  };
  const timer = setInterval(() => show(plainTick(Date.now(), progress, lines)), every.tick);
  timer.unref();
  return {
    event: (event) => show(plain(event, progress, lines)),
    close: () => clearInterval(timer),
  };
}

/** For a terminal: finished steps scroll away above, running ones stand at the end and are drawn again in place. */
export function openLive(screen: Screen, options: ViewOptions): Display {
  let progress: Progress = noProgress;
  let above: string[] = [];
  let drawn = 0;
  let open = true;
  const draw = (last: boolean) => {
    const size = { width: screen.columns ?? 80, height: Math.min(screen.rows ?? 24, 24) };
    const frame = last ? [] : live(progress, { ...size, now: Date.now(), colour: options.colour });
    const back = drawn > 0 ? `\u001b[${drawn}A\r` : "";
    const text = [...above, ...frame].map((line) => `${line}\u001b[K\n`).join("");
    screen.write(`${back}${text}\u001b[J`);
    above = [];
    drawn = frame.length;
  };
  const close = () => {
    if (!open) return;
    open = false;
    clearInterval(timer);
    process.off("exit", close);
    draw(true);
    screen.write(showCursor);
  };
  const timer = setInterval(() => draw(false), every.frame);
  timer.unref();
  // A terminal without a cursor is what an uncaught error would leave otherwise.
  process.on("exit", close);
  screen.write(hideCursor);
  return {
    event(event) {
      const told = plain(event, progress, { ...options, starts: false });
      progress = told.progress;
      above.push(...told.lines);
    },
    close,
  };
}
