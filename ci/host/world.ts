/**
 * # ci/host
 *
 * The machine below: processes, git, secrets, files that are replaced whole. Everything else gets the environment from here as an argument.
 */
import type { Screen } from "../view/draw.js";

/** The world as a command sees it; arrives as an argument, so that a test can hand in another. */

export type World = {
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  signal: AbortSignal;
  /** Results, for a person or a program. */
  stdout: (text: string) => void;
  /** Progress and remarks. */
  stderr: (text: string) => void;
  /** Where progress is drawn, and whether it is a terminal that can be drawn on again. */
  screen: Screen;
  live: boolean;
  colour: boolean;
  /** Whether a person can be asked: standard input and standard error are a terminal. */
  interactive: boolean;
  /** Milliseconds since the Unix epoch. */
  now: () => number;
};
