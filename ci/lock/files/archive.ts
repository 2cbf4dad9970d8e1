import * as z from "zod";
import { FactoryError } from "../../../dagger/src/pipeline/common/error.js";
import { run } from "../../host/process.js";
import { readJson } from "../common/answer.js";

/** What the files that are wanted of an archive are called, and which of them it does not hold. */
export type MemberLookup = { missing: readonly string[]; has: readonly string[] };

const answer = z.object({ error: z.string().nullable(), missing: z.array(z.string()), has: z.array(z.string()) });

/**
 * Looks for files in an archive (tar, compressed in any way that Python knows, or zip) without unpacking it.
 * `package` is a tarball of npm, whose names stand below one folder.
 * @throws FactoryError HOST_TOOL_MISSING (no python3), MIRROR_FAILED (it is no archive of that kind), INTERRUPTED
 */
export async function lookInto(
  file: string,
  as: "tar" | "zip" | "package",
  wanted: readonly string[],
  whose: string,
  signal: AbortSignal | undefined,
): Promise<MemberLookup> {
  const done = await run("python3", ["-c", program, file, as, ...wanted], {
    timeout: 600_000,
    ...(signal === undefined ? {} : { signal }),
  });
  const { error, ...looked } = readJson(
    `python3, which reads ${whose},`,
    done.stdout || JSON.stringify({ stderr: done.stderr }),
    answer,
  );
  if (error === null) return looked;
  throw new FactoryError("MIRROR_FAILED", {
    what: `${whose} cannot be read as a ${as === "zip" ? "zip" : "tar"} archive`,
    why: error,
    fix: "see what the address answers (an error page, another kind of file?), and correct the tool in images.yaml",
  });
}

/**
 * Prints one object: the wanted files that are not there, and some of those that are, of the same file name first.
 * Only regular files and hard links count: a link that is unpacked alone leads nowhere.
 */
const program = `import json, posixpath, subprocess, sys, tarfile, zipfile
path, kind, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
most = 20

def names():
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            for one in archive.infolist():
                if not one.is_dir():
                    yield one.filename
    else:
        for name in tar_names():
            yield name.split("/", 1)[-1] if kind == "package" else name

def tar_names():
    try:
        archive = tarfile.open(path)
    except tarfile.ReadError as error:
        # Compressed in another way: as the stage unpacks it.
        listed = subprocess.run(["tar", "-tf", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if listed.returncode != 0:
            raise error
        yield from (name for name in listed.stdout.decode(errors="replace").splitlines() if not name.endswith("/"))
        return
    with archive:
        for one in archive:
            # What was read is kept otherwise, of however many files.
            archive.members = []
            if one.isfile() or one.islnk():
                yield one.name

def look():
    missing, near, others = set(wanted), set(), set()
    like = {posixpath.basename(one).lower() for one in wanted}
    for name in names():
        missing.discard(name)
        if posixpath.basename(name).lower() in like:
            if len(near) < most:
                near.add(name[:300])
        elif len(others) < most:
            others.add(name[:300])
    return {"error": None, "missing": sorted(missing), "has": (sorted(near) + sorted(others))[:most]}

try:
    answer = look()
except Exception as error:
    answer = {"error": "%s: %s" % (type(error).__name__, str(error)[:300]), "missing": [], "has": []}
print(json.dumps(answer))
`;
