import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** A file (or link) as it lies about in a checkout where people work; `ignoredBy` is the line of .dockerignore that keeps it out. */
export type Junk = { path: string; ignoredBy: string } & ({ content: string } | { target: string });

/** One at least for each usual line. What git can hold and a person would write (tests, NOTES.md) is committed with the example. */
export const junk: readonly Junk[] = [
  { path: ".git/HEAD", ignoredBy: "**/.git", content: "ref: refs/heads/main\n" },
  { path: ".git/objects/info/packs", ignoredBy: "**/.git", content: "\n" },
  {
    path: ".factory/runs/20260101T000000Z.jsonl",
    ignoredBy: "**/.factory",
    content: '{"type":"warning","at":0,"text":"an old run"}\n',
  },
  {
    path: "node_modules/left-over/index.js",
    ignoredBy: "**/node_modules",
    content: "module.exports = 1;\n",
  },
  {
    path: "cdk8s/node_modules/.bin/cdk8s",
    ignoredBy: "**/node_modules",
    target: "../left-over/index.js",
  },
  // A real venv links to an interpreter of the host, by an absolute path that no image has.
  { path: "app/.venv/bin/python", ignoredBy: "**/.venv", target: "/usr/bin/python3" },
  {
    path: "app/.venv/lib/python3.11/site-packages/image_factory_app/__init__.py",
    ignoredBy: "**/.venv",
    content: "raise ImportError('the wrong copy')\n",
  },
  {
    path: "app/src/image_factory_app/__pycache__/cli.cpython-311.pyc",
    ignoredBy: "**/__pycache__",
    content: "not byte code\n",
  },
  {
    path: "app/src/image_factory_app/stray.pyc",
    ignoredBy: "**/*.pyc",
    content: "not byte code\n",
  },
  { path: "app/.pytest_cache/v/cache/lastfailed", ignoredBy: "**/.pytest_cache", content: "{}\n" },
  {
    path: "app/.output/report.html",
    ignoredBy: "**/.output",
    content: "<p>yesterday's report</p>\n",
  },
  {
    path: "app/build/lib/image_factory_app/__init__.py",
    ignoredBy: "**/build",
    content: "raise ImportError('the wrong copy')\n",
  },
  {
    path: "app/dist/image_factory_app-1.3.0.tar.gz",
    ignoredBy: "**/dist",
    content: "an old release\n",
  },
  { path: "cdk8s/dist/toolbox.k8s.yaml", ignoredBy: "**/dist", content: "kind: Outdated\n" },
  {
    path: "app/src/image_factory_app.egg-info/PKG-INFO",
    ignoredBy: "**/*.egg-info",
    content: "Name: image-factory-app\nVersion: 1.3.0\n",
  },
  { path: "app/tests/scratch.py", ignoredBy: "**/tests", content: "print('trying things out')\n" },
  { path: "state/terraform.tfstate", ignoredBy: "**/state", content: '{"password":"hunter2"}\n' },
  { path: "app/debug.log", ignoredBy: "**/*.log", content: "a long night\n" },
  { path: "meeting.md", ignoredBy: "**/*.md", content: "# Monday\n" },
];

/**
 * Puts the junk into a folder, over what is there. An image built before and after must have the same digest.
 * @returns the paths it made, relative to the folder
 */
export async function makeJunk(folder: string): Promise<string[]> {
  for (const item of junk) {
    const path = join(folder, item.path);
    await mkdir(dirname(path), { recursive: true });
    if ("content" in item) await writeFile(path, item.content);
    else await symlink(item.target, path).catch(keepExisting);
  }
  return junk.map(({ path }) => path);
}

const keepExisting = (error: NodeJS.ErrnoException): void => {
  if (error.code !== "EEXIST") throw error;
};

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) {
    process.stderr.write("usage: npx tsx examples/junk.ts FOLDER   (a copy of examples/image-factory, not your checkout)\n");
    process.exitCode = 64;
  } else {
    for (const path of await makeJunk(folder)) process.stdout.write(`${path}\n`);
  }
}
