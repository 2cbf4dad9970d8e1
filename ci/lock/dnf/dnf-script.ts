import * as z from "zod";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import type { PackageSet } from "../../../dagger/src/pipeline/config/lock.js";
import { readJson } from "../common/answer.js";

/** A repository that the image declares beside those of its base. */
type RpmRepository = { id: string; baseurl: string };

export type RpmQuestion = {
  /** Names as `dnf install` takes them. */
  names: readonly string[];
  /** Beside those that the base itself has, as while installing. */
  repositories: readonly RpmRepository[];
  /** Module streams to enable for the answer, as `dnf module enable` takes them: "nodejs:20". */
  modules?: readonly string[];
  /** Another root filesystem than the one the program runs in, without repositories of its own; for tests. */
  installRoot?: string;
  /** For a root that has no release package to tell it: "9". */
  releaseVersion?: string;
};

/**
 * A Python 3 program that asks dnf what `dnf install` without weak dependencies would add to the system it runs in,
 * and prints the answer as lines of JSON on stdout. It installs nothing, and ends with 0 whenever it has an answer, a bad one too,
 * so that an engine hands the answer over; no last line `done` means that it broke off.
 */
export function rpmResolverScript(question: RpmQuestion): string {
  // JSON within JSON: the inner text is data whatever it holds, the outer quoting is a valid Python string literal.
  const data = JSON.stringify(JSON.stringify(question));
  return `import difflib, json, sys, tempfile
question = json.loads(${data})

def say(**line):
    print(json.dumps(line, sort_keys=True))

try:
    import dnf
except ImportError as error:
    say(error="no-dnf", text=str(error))
    say(done=True)
    sys.exit(0)

def nevra(package):
    return "%s-%s:%s-%s.%s" % (package.name, package.epoch, package.version, package.release, package.arch)

def resolve(base, cache):
    conf = base.conf
    root = question.get("installRoot")
    if root:
        conf.installroot = root
    else:
        conf.read()
    conf.substitutions.update_from_etc(conf.installroot)
    release = question.get("releaseVersion") or dnf.rpm.detect_releasever(conf.installroot)
    if release:
        conf.substitutions["releasever"] = release
    else:
        # A base without a release package: dnf itself leaves a None here, which its library refuses.
        conf.substitutions.pop("releasever", None)
    conf.cachedir = cache
    conf.persistdir = cache
    conf.logdir = cache
    conf.install_weak_deps = False
    conf.skip_if_unavailable = False
    if not root:
        base.read_all_repos()
    for one in question["repositories"]:
        base.repos.add_new_repo(one["id"], conf, baseurl=[one["baseurl"]])
    for repository in base.repos.iter_enabled():
        repository.skip_if_unavailable = False
    base.fill_sack(load_system_repo=True)
    modules = question.get("modules") or []
    if modules:
        from dnf.module.module_base import ModuleBase
        try:
            ModuleBase(base).enable(modules)
        except dnf.exceptions.MarkingErrors as error:
            say(error="unsolvable", text="modules %s: %s" % (", ".join(modules), error))
            return
    unknown = []
    for name in question["names"]:
        try:
            base.install(name, strict=True)
        except dnf.exceptions.MarkingError as error:
            unknown.append((name, str(error)))
    if unknown:
        known = sorted({package.name for package in base.sack.query()})
        for name, text in unknown:
            near = difflib.get_close_matches(name, known, 1)
            say(error="unknown", name=name, text=text, hint=near[0] if near else None)
        return
    base.resolve()
    if base.transaction:
        for package in sorted(nevra(package) for package in base.transaction.install_set):
            say(package=package)

with tempfile.TemporaryDirectory() as cache:
    base = dnf.Base()
    try:
        resolve(base, cache)
    except dnf.exceptions.RepoError as error:
        say(error="unreachable", text=str(error))
    except dnf.exceptions.DepsolveError as error:
        say(error="unsolvable", text=str(error))
    except dnf.exceptions.Error as error:
        say(error="failed", text=str(error))
    finally:
        base.close()
say(done=True)
`;
}

const line = z.union([
  // name-epoch:version-release.architecture: it becomes a word of a command line.
  z.strictObject({
    package: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]*-\d+:[A-Za-z0-9._+~^]+-[A-Za-z0-9._+~^]+\.[a-z0-9_]+$/),
  }),
  z.strictObject({ done: z.literal(true) }),
  z.strictObject({
    error: z.literal("unknown"),
    name: z.string(),
    text: z.string(),
    hint: z.string().nullable(),
  }),
  z.strictObject({
    error: z.enum(["unreachable", "unsolvable", "failed", "no-dnf"]),
    text: z.string(),
  }),
]);

/**
 * Reads what the program printed; lines that are no JSON (a plugin's notes) are passed over.
 * @param where what was asked, for errors: "ubi9 (linux/amd64)"
 * @throws FactoryError CONFIG_INVALID (unknown package, no solution), MIRROR_UNREACHABLE, MIRROR_FAILED (a line of another form),
 *   STEP_FAILED (the program broke off)
 */
export function readRpmAnswer(text: string, names: readonly string[], where: string): PackageSet {
  const lines = text.split("\n").flatMap((one) => (one.startsWith("{") ? [readJson(`dnf for ${where}`, one, line)] : []));
  const unknown = lines.flatMap((one) => ("name" in one ? [one] : []));
  if (unknown.length > 0)
    throw new FactoryError("CONFIG_INVALID", {
      what: `no package ${unknown.map(({ name }) => name).join(", ")} in the repositories of ${where}`,
      why: unknown.map((one) => `${one.name}: ${one.text}`).join("\n"),
      fix: [
        "correct images.yaml",
        ...unknown.flatMap(({ name, hint }) => (hint === null ? [] : `did you mean ${hint} for ${name}?`)),
      ].join("; "),
    });
  for (const one of lines) if ("error" in one) throw failed(one.error, one.text, where);
  if (!lines.some((one) => "done" in one)) throw failed("failed", "its answer has no end", where);
  const packages = lines.flatMap((one) => ("package" in one ? [one.package] : []));
  return { requested: [...new Set(names)].sort(), packages: [...new Set(packages)].sort() };
}

function failed(error: string, why: string, where: string): FactoryError {
  if (error === "unreachable")
    return new FactoryError("MIRROR_UNREACHABLE", {
      what: `dnf cannot read the repositories of ${where}`,
      why,
      fix: "check the network, HTTPS_PROXY and the repositories in images.yaml; then run the same command again",
    });
  if (error === "unsolvable")
    return new FactoryError("CONFIG_INVALID", {
      what: `dnf finds no way to install the packages of ${where}`,
      why,
      fix: "change the packages in images.yaml",
    });
  if (error === "no-dnf")
    return new FactoryError("CONFIG_INVALID", {
      what: `the base of ${where} has no dnf for Python`,
      why,
      fix: "use a base with dnf (ubi9/ubi, not ubi-minimal), or set its `packages` to another manager",
    });
  return new FactoryError("STEP_FAILED", {
    what: `dnf could not resolve the packages of ${where}`,
    why,
    fix: "read dnf's own words above",
  });
}
