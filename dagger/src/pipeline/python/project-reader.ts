import { FactoryError, type Position, type Problem } from "../common/error.js";
import { isName, normalName, readRequirement, requirementText } from "./pep508.js";
import { isVersion, readSpecifiers } from "./pep440.js";
import type { EntryPoint, ProjectName } from "./project.js";

/** Finds the place of a value: of its key when `value` is not given or not found. */
export type Locate = (path: readonly string[], value?: string, offset?: number) => Position;

const most = 50;

/** Reads the values of a project file and collects what is wrong with them, each with its place. */
export class ProjectReader {
  readonly problems: Problem[] = [];

  constructor(
    readonly file: string,
    readonly locate: Locate,
  ) {}

  problem(path: readonly string[], message: string, hint?: string, value?: string, offset = 0): void {
    // Each place is looked for in the whole text: a file with more problems than this is the wrong file.
    if (this.problems.length === most) return;
    const position = this.locate(path, value, offset);
    this.problems.push({ position, message, ...(hint === undefined ? {} : { hint }) });
  }

  /** @throws FactoryError PROJECT_INVALID with every problem that was met */
  finish(): void {
    const place = ({ position }: Problem): number => (position === undefined ? 0 : position.line * 10_000 + position.col);
    if (this.problems.length > 0)
      throw invalid(
        this.file,
        this.problems.toSorted((a, b) => place(a) - place(b)),
      );
  }

  text(path: readonly string[], value: unknown): string | null {
    if (value === undefined) return null;
    if (typeof value === "string") return value;
    this.problem(path, `${path.join(".")}: expected text, found ${kindOf(value)}`);
    return null;
  }

  texts(path: readonly string[], value: unknown): string[] {
    if (value === undefined) return [];
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    this.problem(path, `${path.join(".")}: expected a list of texts, found ${kindOf(value)}`);
    return [];
  }

  name(path: readonly string[], value: unknown): ProjectName | null {
    const written = this.text(path, value);
    if (written === null) return null;
    if (isName(written)) return { written, normal: normalName(written) };
    this.problem(
      path,
      `${JSON.stringify(written)} is no name of a project`,
      "use letters, digits and - _ . between them",
      written,
    );
    return null;
  }

  version(path: readonly string[], value: unknown): string | null {
    const version = this.text(path, value);
    if (version === null || isVersion(version)) return version;
    this.problem(path, `${JSON.stringify(version)} is no version`, "write it as PEP 440 has it, such as 1.4.0", version);
    return null;
  }

  requiresPython(path: readonly string[], value: unknown): string | null {
    const written = this.text(path, value);
    if (written === null) return null;
    const specifiers = readSpecifiers(written);
    if (!specifiers.ok) {
      this.problem(path, specifiers.message, specifiers.hint ?? "the form is >=3.11,<4", written, specifiers.at);
      return null;
    }
    return specifiers.text === "" ? null : specifiers.text;
  }

  requirements(path: readonly string[], written: readonly string[]): string[] {
    const found = new Set<string>();
    for (const item of written) {
      const result = readRequirement(item);
      if (result.ok) found.add(requirementText(result.requirement));
      else this.problem(path, `${JSON.stringify(item)}: ${result.message}`, result.hint, item, result.at);
    }
    return [...found].sort();
  }

  entryPoint(path: readonly string[], group: string, name: string, value: unknown): EntryPoint[] {
    const written = this.text(path, value);
    if (written === null) return [];
    const script = group === "console_scripts" || group === "gui_scripts";
    const module = String.raw`[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{N}_]*)*`;
    const form = new RegExp(`^(${module})\\s*(?::\\s*(${module}))?\\s*(?:\\[[^\\]]*\\])?$`, "u").exec(
      written.trim().replace(/\s+/g, " "),
    );
    if (form === null || (script && form[2] === undefined)) {
      const hint = script ? "write module:function, such as package.cli:main" : "write module or module:object";
      this.problem(path, `${name}: ${JSON.stringify(written)} is no entry point`, hint, written);
      return [];
    }
    // A script's name becomes a file's name in bin/.
    if (script ? !/^[A-Za-z0-9_][\w.-]*$/.test(name) : /[\n=]|^\s|\s$|^\[|^$/.test(name)) {
      this.problem(
        path,
        `${JSON.stringify(name)} is no name of ${script ? "a command" : "an entry point"}`,
        "use letters, digits and - _ .",
      );
      return [];
    }
    return [{ group, name, value: form[2] === undefined ? form[1]! : `${form[1]}:${form[2]}` }];
  }
}

export const invalid = (file: string, problems: readonly Problem[], cause?: unknown): FactoryError =>
  new FactoryError("PROJECT_INVALID", {
    what: `${file} cannot be read`,
    why: problems
      .map(({ position, message }) =>
        position === undefined ? message : `${position.file}:${position.line}:${position.col}  ${message}`,
      )
      .join("\n"),
    fix: problems[0]?.hint ?? `correct ${file}`,
    problems,
    cause,
  });

const kindOf = (value: unknown): string => {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  return typeof value === "object" ? "a table" : JSON.stringify(value);
};

/** The place of an offset in a text. */
export const positionAt = (file: string, text: string, offset: number): Position => {
  const before = text.slice(0, offset).split("\n");
  return lineAt(file, text, before.length, (before.at(-1)?.length ?? 0) + 1);
};

export const lineAt = (file: string, text: string, line: number, col: number): Position => ({
  file,
  line,
  col,
  excerpt: (text.split("\n")[line - 1] ?? "").trimEnd(),
});
