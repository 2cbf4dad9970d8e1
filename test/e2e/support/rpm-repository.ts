import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../../../ci/host/process.js";

const fixtures = fileURLToPath(new URL("../fixtures/rpm", import.meta.url));

/** The spec file of a fixture: `factory-hello` → …/fixtures/rpm/factory-hello.spec. */
export const rpmSpec = (name: string): string => join(fixtures, `${name}.spec`);

/**
 * Builds each spec and makes (or renews) an RPM repository of all packages in `folder`. Returns its file:// address.
 * Called again with more specs, it adds them: an update of a package is a second spec of the same name.
 * Needs rpmbuild and createrepo_c.
 */
export async function makeRpmRepository(folder: string, specs: readonly string[]): Promise<string> {
  const packages = join(folder, "packages");
  await mkdir(packages, { recursive: true });
  for (const spec of specs) {
    const defines = {
      _topdir: join(folder, "build"),
      _rpmdir: packages,
      _build_name_fmt: "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
    };
    const args = Object.entries(defines).flatMap(([name, value]) => ["--define", `${name} ${value}`]);
    await must("rpmbuild", ["-bb", "--quiet", ...args, spec]);
  }
  await must("createrepo_c", ["--quiet", packages]);
  return `file://${packages}`;
}

async function must(program: string, args: readonly string[]): Promise<void> {
  const done = await run(program, args);
  if (done.exitCode !== 0) throw new Error(`${program} ${args.join(" ")}: ${done.stderr || done.stdout}`);
}
