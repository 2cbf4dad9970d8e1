import type { Base } from "./base.js";
import { aptUpdate } from "./apt-commands.js";
import { quote } from "./shell.js";
import type { ImageSpec } from "../config/spec.js";
import { withoutEnd } from "../common/without-end.js";

/** What makes a Debian base from a package mirror, wherever mmdebstrap runs: on this machine, or in a container of an engine. */

/** Where Debian's packages come from unless images.yaml names another place. */
export const debianMirror = "http://deb.debian.org/debian";
export const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** The name of the file that holds apt to the chosen versions while it installs. */
export const pinsFile = "image-factory-lock";

/** The packages of a bootstrapped base beside its essential ones, each once. */
export const includeOf = (base: ImageSpec["base"]): string[] => [...new Set(base.include ?? ["ca-certificates"])].sort();

/** What packages are resolved on, beside their names: another release, other streams or repositories have other versions. */
export const resolvedOn = ({ bootstrap, suite, image, modules = [], repositories = {} }: ImageSpec["base"]): string =>
  [bootstrap === undefined ? image!.split("@")[0]! : `${bootstrap} ${suite}`, ...modules, ...Object.keys(repositories)]
    .sort()
    .join(" ");

/** The lines of sources.list, the same for the resolver and inside the image. */
export const sourceLines = (source: { suite: string; mirror: string; securityMirror?: string }): string[] => {
  const { suite, mirror, securityMirror } = source;
  const at = withoutEnd(mirror, "/");
  const line = (address: string, name: string) => `deb [signed-by=${keyring}] ${address} ${name} main`;
  if (suite === "sid" || suite === "unstable") return [line(at, suite)];
  const security = securityMirror === undefined ? `${at}-security` : withoutEnd(securityMirror, "/");
  return [line(at, suite), line(at, `${suite}-updates`), line(security, `${suite}-security`)];
};

/** Files that no container reads stay out, now and in every later `apt-get install`; licences stay. */
const excludes = [
  "path-exclude=/usr/share/man/*",
  "path-exclude=/usr/share/info/*",
  "path-exclude=/usr/share/locale/*",
  "path-exclude=/usr/share/doc/*",
  "path-include=/usr/share/doc/*/copyright",
];

/** mmdebstrap's options that decide what the root filesystem holds. */
export const debianOptions = (include: readonly string[]): string[] => [
  "--variant=minbase",
  ...(include.length === 0 ? [] : [`--include=${include.join(",")}`]),
  // What these two write stays in the image: an `apt-get install` of base-tools behaves the same.
  ...['Acquire::Languages "none"', 'APT::Install-Recommends "false"'].map((line) => `--aptopt=${line}`),
  ...["force-unsafe-io", ...excludes].map((line) => `--dpkgopt=${line}`),
];

/** A preferences file under which apt sees these versions (`name=version`) and no others. */
export const pinsText = (packages: readonly string[]): string =>
  [
    "Package: *\nPin: release *\nPin-Priority: -1\n",
    ...packages.map((one) => one.replace(/^([^=]+)=(.*)$/, "Package: $1\nPin: version $2\nPin-Priority: 1001\n")),
  ].join("\n");

/** What the config of a bootstrapped base says. */
export const baseConfig = { path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", cmd: ["bash"] } as const;

/** Where a container that bootstraps leaves the root filesystem. */
export const rootFolder = "/output/root";

/**
 * The commands of a Debian container, run as root with all capabilities, that leave the root filesystem of a bootstrapped base in
 * `rootFolder`. Of the container's environment maintainer scripts see proxies alone.
 * @param epoch seconds since the Unix epoch, of every file newer than that
 */
export const bootstrapStatements = (base: Extract<Base, { kind: "bootstrap" }>, epoch: number): string[] => {
  const { include, packages, suite } = base;
  const pins = `/tmp/${pinsFile}`;
  const hooks =
    packages === null
      ? []
      : ['--setup-hook=mkdir -p "$1/etc/apt/preferences.d"', `--setup-hook=copy-in ${pins} /etc/apt/preferences.d`];
  const clean = ["etc/resolv.conf", "etc/hostname", `etc/apt/preferences.d/${pinsFile}`].map((path) => `"$1/${path}"`).join(" ");
  const words = [
    "mmdebstrap",
    "--mode=root",
    "--format=tar",
    ...debianOptions(include),
    "--skip=output/dev",
    ...hooks,
    `--customize-hook=rm -f ${clean}`,
    // Brought in from outside, as the command line does it, the lists are readable to all.
    '--customize-hook=chmod -R u=rwX,go=rX "$1/var/lib/apt/lists"',
    suite,
    "/tmp/root.tar",
    ...sourceLines(base),
  ];
  const proxies = ["http_proxy", "https_proxy", "no_proxy"];
  return [
    "export DEBIAN_FRONTEND=noninteractive",
    // As apt reads them; an engine may give them in capitals only.
    ...proxies.map((name) => `export ${name}="\${${name}:-\${${name.toUpperCase()}:-}}"`),
    // The workshop is of the same suite, and may reach no other mirror.
    "rm -f /etc/apt/sources.list.d/*",
    `printf '%s\\n' ${sourceLines(base).map(quote).join(" ")} > /etc/apt/sources.list`,
    aptUpdate,
    "apt-get -qq install --yes --no-install-recommends mmdebstrap",
    ...(packages === null ? [] : [`printf %s ${quote(pinsText(packages))} > ${pins}`]),
    `env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin ${proxies.map((name) => `"${name}=$${name}"`).join(" ")} LC_ALL=C.UTF-8 TZ=UTC DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=${epoch} ${words.map(quote).join(" ")}`,
    // mmdebstrap leaves /dev out; a runtime that finds none makes one, with the time of day, and the first command's layer has it.
    `mkdir -p ${rootFolder}/dev`,
    // mmdebstrap sets the times of a tar, and of nothing else.
    `tar --extract --file=/tmp/root.tar --directory=${rootFolder} --numeric-owner --same-owner --same-permissions --xattrs --xattrs-include='*'`,
  ];
};
