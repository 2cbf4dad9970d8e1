import { clean, clip, columns, duration, painter } from "./line.js";
import { announceAfter, housekeeping, type Progress, type StepView } from "./progress.js";

export type Frame = { width: number; height: number; now: number; colour: boolean };

/** For a terminal: the lines that stand at its end right now, none longer than `width`. */
export function live(progress: Progress, frame: Frame): string[] {
  const paint = painter(frame.colour);
  const steps = [...progress.steps.values()];
  const shown = steps.filter((step) => step.name !== "" && !housekeeping.test(step.name));
  const running = steps.filter((step) => step.since !== null && (shown.includes(step) || frame.now - step.since > announceAfter));
  const over = shown.filter((step) => step.since === null);
  const cached = over.filter((step) => step.cached).length;
  const room = Math.max(1, Math.floor((frame.height - 2) / 2));
  const lines = running.slice(0, room).flatMap((step) => {
    const time = duration(step.spent + frame.now - (step.since ?? frame.now));
    const label = step.stage === null ? " " : ` [${step.stage}] `;
    const text = clip(`${label}${clean(step.name)}`, frame.width - time.length - 2);
    const gap = " ".repeat(Math.max(1, frame.width - 1 - columns(text) - time.length));
    const below = detail(step);
    const head = `${paint.stage(text.slice(0, label.length))}${text.slice(label.length)}${gap}${paint.faint(time)}`;
    return below === "" ? [head] : [head, paint.faint(clip(`   ${below}`, frame.width - 1))];
  });
  if (running.length > room) lines.push(paint.faint(clip(`   and ${running.length - room} more`, frame.width - 1)));
  const count = `${over.length} ${over.length === 1 ? "step" : "steps"} finished${cached > 0 ? `, ${cached} of them cached` : ""}`;
  const began = Math.min(...[...progress.stages.values()].map((one) => one.since), frame.now);
  const total = began < frame.now ? `, ${duration(frame.now - began)}` : "";
  return [...lines.slice(0, Math.max(0, frame.height - 1)), clip(` ${count}${total}`, frame.width - 1)];
}

/** The newest word of a step: what it says it does, else the last thing that it printed. */
const detail = (step: StepView): string => {
  if (step.doing === null) return clean(step.writing) || (step.log.at(-1) ?? "");
  const { what, current, total } = step.doing;
  if (total !== null) return `${clean(what)} ${Math.min(100, Math.floor((100 * current) / total))}%`;
  return current > 0 ? `${clean(what)} ${current}` : clean(what);
};
