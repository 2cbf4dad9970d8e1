import type { Command } from "../command.js";
import { build } from "./build.js";
import { clean } from "./clean.js";
import { engine } from "./engine.js";
import { lock } from "./lock.js";
import { plan } from "./plan.js";
import { render } from "./render.js";
import { schema } from "./schema.js";
import { shell } from "./shell.js";

/** Every verb, in the order in which help shows them. */
export const commands: readonly Command[] = [plan, build, lock, render, shell, engine, clean, schema];
