import { aptCacheHeld, aptUpdate } from "./apt-commands.js";
import { compileScript, toolScript } from "./script-tools.js";
import { byName, hostCaExports, inputsFolder, quote, type Script } from "./shell.js";
import { accountLines, type Step, type StepOf } from "./step.js";

export const scriptOf = (step: Step, epoch: number): Script | null => {
  switch (step.do) {
    case "install":
      return step.manager === "apt" ? apt(step, epoch) : dnf(step, epoch);
    case "tool":
      return toolScript(step);
    case "compile":
      return compileScript(step);
    case "python":
      return python(step, epoch);
    case "run":
      return runCommand(step, epoch);
    case "user":
      return account(step);
    case "directory":
      return { statements: makeDirectory(step), mounts: [] };
    case "file":
      return writeFile(step);
    case "copy":
    case "config":
      return null;
  }
};

const apt = (step: StepOf<"install">, epoch: number): Script => ({
  mounts: [
    { mount: "network" },
    { mount: "cache", id: "apt-archives", target: "/var/cache/apt" },
    { mount: "cache", id: "apt-lists", target: "/var/lib/apt/lists" },
  ],
  statements: [
    ...hostCaExports,
    // py3compile and others then write what does not depend on the time of day.
    `export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=${epoch}`,
    aptUpdate,
    aptCacheHeld,
    [
      "apt-get",
      "-qq",
      "install",
      "--yes",
      "--no-install-recommends",
      "--no-install-suggests",
      // A name that no package has is an error; by default apt-get reads it as a regular expression.
      "-o",
      "APT::Cmd::Pattern-Only=true",
      "-o",
      "Dpkg::Use-Pty=0",
      "-o",
      "Dpkg::Options::=--force-unsafe-io",
      "-o",
      "Dpkg::Options::=--path-exclude=/usr/share/man/*",
      "-o",
      "Dpkg::Options::=--path-exclude=/usr/share/doc/*",
      "-o",
      "Dpkg::Options::=--path-include=/usr/share/doc/*/copyright",
      "-o",
      "Dpkg::Options::=--path-exclude=/usr/share/locale/*",
      ...(step.pins ?? step.names),
    ].map(quote),
    "rm -rf /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/apt /var/log/alternatives.log /var/log/dpkg.log /var/log/fontconfig.log",
  ],
});

/** dnf reads no SSL_CERT_FILE of its own. */
const sslCa = '${SSL_CERT_FILE:+"--setopt=sslcacert=$SSL_CERT_FILE"}';

/** A repository or a package that cannot be had is an error, whatever the base's own settings say. */
const dnfStrict = ["--setopt=*.skip_if_unavailable=0", "--setopt=strict=1"];

/** dnf's Python is the platform's, which is not always the one called python3. */
const platformPython = "command -v /usr/libexec/platform-python || command -v python3";
const withoutLog = 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode = DELETE")';

const dnf = (step: StepOf<"install">, epoch: number): Script => ({
  mounts: [{ mount: "network" }, { mount: "cache", id: "dnf", target: "/var/cache/dnf" }],
  statements: [
    ...hostCaExports,
    // The time of installation that rpm notes in its database.
    `export SOURCE_DATE_EPOCH=${epoch}`,
    ...(step.modules.length === 0
      ? []
      : [["dnf", "--quiet", "--assumeyes", ...dnfStrict.map(quote), sslCa, "module", "enable", ...step.modules]]),
    [
      "dnf",
      "--quiet",
      "--assumeyes",
      // The cache keeps metadata for days: a lock that was just updated names versions it does not know.
      "--refresh",
      ...dnfStrict,
      "--nodocs",
      "--setopt=install_weak_deps=False",
      "--setopt=keepcache=True",
      ...byName(step.repositories).flatMap(([id, { url, key }]) => [
        `--repofrompath=${id},${url}`,
        ...(key === undefined ? [`--setopt=${id}.gpgcheck=0`] : [`--setopt=${id}.gpgcheck=1`, `--setopt=${id}.gpgkey=${key}`]),
      ]),
    ]
      .map(quote)
      .concat([sslCa, "install", ...(step.pins ?? step.names).map(quote)]),
    // SQLite's write-ahead log goes with an index that holds random numbers, and without it only root can read the database: so no log.
    [
      "if [ -f /var/lib/rpm/rpmdb.sqlite ] &&",
      `python=$(${platformPython}); then`,
      "$python",
      "-c",
      quote(withoutLog),
      "/var/lib/rpm/rpmdb.sqlite;",
      "fi",
    ],
    "rm -rf /var/lib/dnf /var/log/dnf* /var/log/hawkey.log /var/cache/ldconfig/aux-cache",
  ],
});

const python = (step: StepOf<"python">, epoch: number): Script => {
  const interpreter = `python${step.version}`;
  const pinned = step.pins?.map(({ pin, sha256 }) => `${pin} ${sha256.map((hash) => `--hash=sha256:${hash}`).join(" ")}`);
  const flags = pinned === undefined ? ["--log", pipLog] : ["--require-hashes", "--no-deps"];
  return {
    mounts: [{ mount: "network" }, { mount: "cache", id: "pip", target: "/root/.cache/pip" }],
    statements: [
      ...hostCaExports,
      `export SOURCE_DATE_EPOCH=${epoch} PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore`,
      [`${interpreter} -m pip --version >/dev/null ||`, "{ echo", quote(noPip(step.version)), ">&2;", "exit 65; }"],
      `${interpreter} -m venv --without-pip ${quote(step.venv)}`,
      ["printf", "'%s\\n'", ...(pinned ?? step.requires).map(quote), ">", "/tmp/requirements.txt"],
      [
        interpreter,
        "-m",
        "pip",
        "--python",
        quote(`${step.venv}/bin/python`),
        "install",
        "--quiet",
        "--no-input",
        "--no-compile",
        ...flags,
        "--requirement",
        "/tmp/requirements.txt",
      ],
      ...(pinned === undefined ? [unreadIndex, `rm ${pipLog}`] : []),
      "rm /tmp/requirements.txt",
    ],
  };
};

const pipLog = "/tmp/pip.log";
/** pip passes over an index that it cannot read, and takes what another one has: without hashes that is another package. */
const unreadIndex = [
  `if grep -F 'Could not fetch URL' ${pipLog} | grep -v -e ': 404 ' -e ': 410 ' >&2;`,
  "then echo",
  quote("a package index could not be read, and nothing is locked that would tell what it holds"),
  ">&2;",
  "exit 69;",
  "fi",
];
const noPip = (version: string): string =>
  `python${version} has no pip: add it to the packages of base-tools (Debian: python3-pip, dnf: python${version}-pip)`;

const runCommand = (step: StepOf<"run">, epoch: number): Script => ({
  mounts: [
    { mount: "network" },
    ...step.inputs.map((source) => ({ mount: "context" as const, source, target: `${inputsFolder}/${source}` })),
  ],
  statements: [...hostCaExports, `export SOURCE_DATE_EPOCH=${epoch}`, step.command.trimEnd()],
});

const account = (step: StepOf<"user">): Script => {
  const { name, uid, gid, home } = step.account;
  const clash = `${name} or ${uid} is taken in the base; choose another name or uid`;
  return {
    mounts: [],
    statements: [
      `if cut -d: -f1,3 /etc/passwd | grep -q -e ${quote(`^${name}:`)} -e ${quote(`:${uid}$`)}; then echo ${quote(clash)} >&2; exit 65; fi`,
      ...Object.entries(accountLines(step.account)).map(([file, line]) => `echo ${quote(line)} >> ${file}`),
      `install -d -m 775 -o ${uid} -g ${gid} ${quote(home)}`,
    ],
  };
};

const makeDirectory = (step: StepOf<"directory">): string[] => {
  const [uid, gid] = step.owner.split(":");
  return [`install -d -m ${step.mode} -o ${uid} -g ${gid} ${quote(step.path)}`];
};

const writeFile = (step: StepOf<"file">): Script => {
  const [uid, gid] = step.owner.split(":");
  const install = (from: string) => `install -D -m ${step.mode} -o ${uid} -g ${gid} ${from} ${quote(step.path)}`;
  if ("from" in step.source) {
    const input = `${inputsFolder}/${step.source.from}`;
    return { statements: [install(quote(input))], mounts: [{ mount: "context", source: step.source.from, target: input }] };
  }
  const { text } = step.source;
  // Line by line: a word with a line feed in it would end the instruction.
  const lines = text.split("\n");
  const last = lines.pop()!;
  const whole = lines.length === 0 ? [] : ["printf", "'%s\\n'", ...lines.map(quote)];
  const rest = last === "" && lines.length > 0 ? [] : ["printf", "%s", quote(last)];
  const print = whole.length > 0 && rest.length > 0 ? ["{", ...whole, ";", ...rest, ";", "}"] : [...whole, ...rest];
  return { statements: [install("/dev/null"), [...print, ">", quote(step.path)]], mounts: [] };
};
