import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runOnce } from "./interleave.js";
import { fillFolder, noise, progress, scratchCheckout, sourceText } from "./scratch.js";

/** 8 MB as applications are: most of it does not compress (wheels, pictures), the rest is source text. */
export const application = { noise: 6_000_000, sources: 100, source: 20_000 };
const large = { files: 100, size: 5_000_000 };
/** 10,000 files of 50 kB, 500 MB: what people work on, and what their tools leave beside it. */
export const tree = {
  sent: { "app/src": 1_000 },
  tracked: { docs: 500 },
  left: { node_modules: 5_500, "app/.venv": 2_000, build: 1_000 },
};
const treeFile = 50_000;

/** What `docker init` and the like write. */
const ignoreLines = "**/.git\n**/.factory\n**/node_modules\n**/.venv\n**/build\n**/*.md\n";

const imageYaml = (name: string, copied: string) => `  ${name}:
    repository: ${name}
    context: ${name}
    platforms: [linux/amd64, linux/arm64]
    base: { bootstrap: debian, suite: bookworm, packages: apt }
    stages:
      base-tools: {}
      dependencies: {}
      application: { copy: [${copied}], to: /opt/${name} }
      runtime: { user: { name: builder, uid: 1001 }, workdir: /opt/${name}, cmd: [/bin/sh] }
`;

/** Nothing listens there, and nothing asks: the stages that a registry could have are here. */
const imagesYaml = `registry: localhost/bench\nimages:\n${imageYaml("app", "src")}${imageYaml("large", "src")}${imageYaml("tree", "app")}`;

export const task = (...words: string[]): [string, ...string[]] => ["./task", ...words];

/**
 * The project that plan and build are measured on: three images on one bootstrapped Debian, each with a context of its own.
 * The base is made once (half a minute, with the embedded engine) and kept in .factory/bench/project with all else that is slow to make.
 * @returns the folder of the project
 */
export const benchProject = (): string => {
  const folder = scratchCheckout("project", "state");
  rmSync(join(folder, "app"), { recursive: true, force: true });
  mkdirSync(join(folder, "app", "src"), { recursive: true });
  writeFileSync(join(folder, "app", "src", "assets.bin"), noise(1)(application.noise));
  for (let n = 0; n < application.sources; n++)
    writeFileSync(join(folder, "app", "src", `module_${n}.py`), sourceText(application.source, n));
  if (!existsSync(join(folder, "made"))) {
    progress("making 500 MB of application and 500 MB of tree (once)");
    fillFolder(join(folder, "large", "src"), large.files, large.size, 2);
    const places = { ...tree.sent, ...tree.tracked, ...tree.left };
    Object.entries(places).forEach(([place, count], seed) =>
      fillFolder(join(folder, "tree", place), count, treeFile, 3 + seed, place === "docs" ? ".md" : ".bin"),
    );
    writeFileSync(join(folder, "tree", ".gitignore"), "node_modules/\n.venv/\nbuild/\n");
    const git = (...args: string[]) =>
      runOnce({
        command: ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", ...args],
        cwd: join(folder, "tree"),
      });
    git("init", "--quiet");
    git("add", ".");
    git("commit", "--quiet", "--message", "bench");
    writeFileSync(join(folder, "made"), "");
  }
  for (const name of ["app", "large", "tree"]) writeFileSync(join(folder, name, ".dockerignore"), ignoreLines);
  writeFileSync(join(folder, "images.yaml"), imagesYaml);
  if (!existsSync(join(folder, "images.lock"))) runOnce({ command: task("lock"), cwd: folder });
  progress("making the base (once), and the images");
  for (const name of ["app", "large", "tree"]) runOnce({ command: task("build", `IMAGE=${name}`, "REMOTE=off"), cwd: folder });
  return folder;
};
