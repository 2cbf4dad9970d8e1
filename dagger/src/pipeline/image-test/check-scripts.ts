/** What checks run inside an image: texts for its own shell and its own Python, which must not need anything of ours. */

/** Names and versions of everything that is installed, as JSON. */
export const distributionsScript = `
import importlib.metadata, json
print(json.dumps({d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}))
`.trim();

/**
 * Imports the top-level modules of the distributions that are named, and after "--" the packages in these folders. Private modules are
 * their own business, and plain files in a project's folder may be programs that act when they are read.
 */
export const importsScript = `
import importlib, importlib.metadata, os, re, sys
at = sys.argv.index("--")
wanted, roots = set(sys.argv[1:at]), sys.argv[at + 1:]
modules = {
    module
    for module, names in importlib.metadata.packages_distributions().items()
    if wanted & {re.sub("[-_.]+", "-", name).lower() for name in names}
}
for root in roots:
    modules |= {name for name in os.listdir(root) if os.path.isfile(os.path.join(root, name, "__init__.py"))}
modules = sorted(name for name in modules if name.isidentifier() and not name.startswith("_"))
for module in modules:
    try:
        importlib.import_module(module)
    except BaseException as error:
        sys.exit(f"{module}: {type(error).__name__}: {error}")
print(" ".join(modules))
`.trim();

/**
 * Builds a wheel of a copy of the project, with pip and the build backend of the image and without a network. Where that backend is
 * not there, zips the tree as a wheel is zipped: the times of the files are what a zip may refuse.
 */
export const wheelScript = `
import glob, os, re, shutil, subprocess, sys, tempfile, zipfile
work = tempfile.mkdtemp()
tree = shutil.copytree(sys.argv[1], os.path.join(work, "tree"), symlinks=True)
python = getattr(sys, "_base_executable", sys.executable)
words = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", work, tree]
done = subprocess.run([python, "-m", "pip", *words], capture_output=True, text=True)
if done.returncode == 0:
    path = glob.glob(os.path.join(work, "*.whl"))[0]
    print(f"{os.path.basename(path)}, {len(zipfile.ZipFile(path).namelist())} files")
elif re.search("No module named|BackendUnavailable|Cannot import", done.stderr):
    with zipfile.ZipFile(os.path.join(work, "tree.zip"), "w") as archive:
        for folder, _, names in os.walk(tree):
            for name in names:
                archive.write(os.path.join(folder, name))
    why = re.search("No module named.*|BackendUnavailable.*|Cannot import.*", done.stderr).group(0)
    print(f"zipped {len(archive.namelist())} files; no wheel: {why}")
else:
    sys.exit(done.stderr)
`.trim();

/** Writes, reads and removes a file in a folder. */
export const writeScript = `
set -eu
file="$1/.write-$$"
echo "$(id -u):$(id -g)" > "$file"
cat "$file"
rm "$file"
`.trim();

/**
 * What a nested container needs of the machine, asked for first: only what fails after that is the image's fault. Exit 77 with the
 * reason is no verdict (notAllowed).
 */
const allowed = `
set -eu
unshare --user true 2>/tmp/why || { echo "user namespaces are refused here: $(cat /tmp/why)"; exit 77; }
start=$(grep "^$(id -un):" /etc/subuid 2>/dev/null | head -n 1 | cut -d: -f2 || true)
awk -v id="\${start:-0}" '$1 <= id && id < $1 + $3 { found = 1 } END { exit !found }' /proc/self/uid_map ||
  { echo "the subordinate user ids are not mapped into this container"; exit 77; }
cd "$(mktemp -d)"
`.trim();

/** Buildah warns and goes on when it can map one id only; an image whose files have several owners then comes out wrong. */
export const buildahScript = `
${allowed}
buildah unshare cat /proc/self/uid_map > map 2> why
test -z "$start" || test "$(wc -l < map)" -gt 1 || { grep -m 1 -o 'newuidmap: .*' why >&2 || cat why >&2; exit 1; }
echo nested > file
container=$(buildah from scratch)
buildah add --quiet "$container" file /file > /dev/null
buildah commit --quiet --rm "$container" oci:image:one > /dev/null
echo "$(buildah --version | cut -d' ' -f1-3), $(awk '{ ids += $3 } END { print ids }' map) user ids"
`.trim();

export const skopeoScript = `
cd "$(mktemp -d)"
set -eu
mkdir -p image/blobs/sha256
put() { sum=$(sha256sum "$1" | cut -d' ' -f1); mv "$1" "image/blobs/sha256/$sum"; echo "$sum"; }
echo nested > file
tar --create --file layer file
size=$(wc -c < layer)
layer=$(put layer)
printf '{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' amd64 "$layer" > config
length=$(wc -c < config)
config=$(put config)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' "$config" "$length" "$layer" "$size" > manifest
count=$(wc -c < manifest)
manifest=$(put manifest)
echo '{"imageLayoutVersion":"1.0.0"}' > image/oci-layout
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s}]}' "$manifest" "$count" > image/index.json
skopeo copy --quiet oci:image dir:copy
test -f "copy/$layer"
skopeo --version
`.trim();

/** A shell and its libraries, as an image, run by Podman without a network: what the image needs for that is all its own. */
export const podmanScript = `
${allowed}
test -c /dev/fuse || { echo "no /dev/fuse in this container"; exit 77; }
mkdir root
for file in /bin/sh $(ldd /bin/sh | grep -o '/[^ )]*'); do mkdir -p "root$(dirname "$file")"; cp -L "$file" "root$file"; done
tar --create --directory root . | podman import --quiet - localhost/nested > /dev/null 2> why ||
  { grep -m 1 -o 'newuidmap: .*' why >&2 || cat why >&2; exit 1; }
said=$(podman run --rm --quiet --network none localhost/nested /bin/sh -c 'echo nested' 2> why) || {
  # What the runtime may not mount or join, it may not because of the container around it.
  grep -E "OCI|crun|runc" why | grep -Ei "not permitted|denied|cgroup" && exit 77
  grep -m 1 -o 'newuidmap: .*' why >&2 || cat why >&2
  exit 1
}
test "$said" = nested
podman --version
`.trim();
