import * as fc from "fast-check";
import { stringify } from "smol-toml";
import { expect, test } from "vitest";
import type { StaticProject } from "../../../../dagger/src/pipeline/python/project.js";
import { readProject, requirementsOf } from "../../../../dagger/src/pipeline/python/requirements.js";

const version = fc.tuple(fc.nat(30), fc.nat(30)).map(([major, minor]) => `${major}.${minor}`);
const clause = fc.tuple(fc.constantFrom(">=", "<", "==", "!=", "~=", "<=", ">"), version).map((parts) => parts.join(""));
/** A requirement as its parts, so that a law can spell it in more than one way. */
const parts = fc.record({
  name: fc.constantFrom("PyYAML", "requests", "ruamel.yaml", "typing_extensions", "cdk8s"),
  extras: fc.uniqueArray(fc.constantFrom("socks", "Fast_Path", "all"), { maxLength: 2 }),
  clauses: fc.uniqueArray(clause, { maxLength: 3 }),
  marker: fc.option(fc.tuple(fc.constantFrom("python_version", "sys_platform"), fc.constantFrom("==", "<"), version), {
    nil: null,
  }),
});
type Parts = typeof parts extends fc.Arbitrary<infer T> ? T : never;

const plain = ({ name, extras, clauses, marker }: Parts): string =>
  `${name}${extras.length > 0 ? `[${extras.join(",")}]` : ""}${clauses.join(",")}${marker ? `; ${marker[0]} ${marker[1]} "${marker[2]}"` : ""}`;
/** The same meaning in other words: other case, separators, order and white space. */
const respelled = ({ name, extras, clauses, marker }: Parts): string => {
  const loose = clauses.toReversed().map((text) => text.replace(/^\W+/, (operator) => ` ${operator}  `));
  const condition = marker ? ` ;(${marker[0]}${marker[1]}'${marker[2]}')` : "";
  return `  ${name.toUpperCase().replaceAll(/[._]/g, "-")} ${extras.length > 0 ? `[ ${extras.toReversed().join(" , ").replaceAll("_", "--")} ]` : ""}${loose.join(" , ")}${condition}`;
};

const read = (project: object, rest: object = {}): StaticProject => {
  const found = readProject("app/pyproject.toml", stringify({ project: { name: "app", version: "1", ...project }, ...rest }));
  if (found.kind !== "static") throw new Error("the laws are about static projects");
  return found;
};
const requires = (project: object, rest: object = {}): readonly string[] => requirementsOf([read(project, rest)]).requires;

test("order, white space, case and repetition mean nothing", () => {
  fc.assert(
    fc.property(
      fc
        .array(parts, { maxLength: 6 })
        .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([all, shuffled]) => {
        const other = [...shuffled.map(respelled), ...shuffled.slice(0, 1).map(plain)];
        expect(requires({ dependencies: other })).toEqual(requires({ dependencies: all.map(plain) }));
      },
    ),
  );
});

test("nothing but dependencies and requires-python is a requirement", () => {
  const word = fc.stringMatching(/^[a-z]{1,8}$/);
  const rest = fc.record({
    description: fc.string(),
    dev: fc.array(parts.map(plain), { maxLength: 3 }),
    tool: fc.dictionary(word, fc.string()),
    groups: fc.dictionary(word, fc.array(word)),
    version,
  });
  fc.assert(
    fc.property(
      fc.array(parts.map(plain), { maxLength: 4 }),
      rest,
      (dependencies, { description, dev, tool, groups, version }) => {
        const project = {
          dependencies,
          description,
          version,
          "optional-dependencies": { dev },
          scripts: { app: "app:main" },
        };
        const changed = read(project, { tool: { acme: tool }, "dependency-groups": groups });
        expect(requirementsOf([changed])).toEqual(requirementsOf([read({ dependencies })]));
      },
    ),
  );
});

test("one changed clause is seen", () => {
  fc.assert(
    fc.property(fc.array(parts, { minLength: 1, maxLength: 4 }), fc.nat(), (all, index) => {
      const changed = all.map((item, at) =>
        at === index % all.length ? { ...item, clauses: [...item.clauses, "!=99.1"] } : item,
      );
      expect(requires({ dependencies: changed.map(plain) })).not.toEqual(requires({ dependencies: all.map(plain) }));
    }),
  );
});

test("names with other specifiers stay beside each other", () => {
  expect(requires({ dependencies: ["pyyaml>=6", "PyYAML<7", "pyyaml >=6"] })).toEqual(["pyyaml<7", "pyyaml>=6"]);
});

test("a mistake is pointed at wherever it stands", () => {
  fc.assert(
    fc.property(fc.array(parts.map(plain), { maxLength: 5 }), fc.nat(), (good, place) => {
      const lines = good.map((text) => `  ${JSON.stringify(text)},`);
      const at = place % (lines.length + 1);
      lines.splice(at, 0, '  "broken = 1",');
      const text = `[project]\nname = "app"\nversion = "1"\ndependencies = [\n${lines.join("\n")}\n]\n`;
      expect(() => readProject("app/pyproject.toml", text)).toThrow(`app/pyproject.toml:${5 + at}:11 `);
    }),
  );
});
