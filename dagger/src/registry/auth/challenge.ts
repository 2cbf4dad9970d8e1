/** One way to log in that a registry offers in WWW-Authenticate (RFC 9110, 11.6.1): scheme in lower case, its parameters. */
export type Challenge = { scheme: string; parameters: Readonly<Record<string, string>> };

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameter = new RegExp(`[\\s,]*(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))`, "y");
const scheme = new RegExp(`[\\s,]*(${token})(?=\\s|,|$)`, "y");

/** Reads the header; several challenges may stand in one. What cannot be read ends the reading. */
export const parseChallenges = (header: string | undefined): Challenge[] => {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const next = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header ?? "");
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    const open = challenges.at(-1);
    const pair = open === undefined ? null : next(parameter);
    if (open !== undefined && pair !== null) {
      open.parameters[(pair[1] ?? "").toLowerCase()] = pair[2]?.replace(/\\(.)/g, "$1") ?? pair[3] ?? "";
      continue;
    }
    const begun = next(scheme);
    if (begun === null) return challenges;
    challenges.push({ scheme: (begun[1] ?? "").toLowerCase(), parameters: {} });
  }
};

/** What a token is for: `repository:acme/x:pull,push` (distribution, "Token Scope Documentation"). */
export type Scope = { resource: string; actions: readonly string[] };

export const repositoryScope = (repository: string, ...actions: readonly ("pull" | "push" | "delete")[]): Scope => ({
  resource: `repository:${repository}`,
  actions,
});

/** `repository:a/b:pull,push`; several are separated by spaces. The last colon ends the name: a name may hold a host with a port. */
export const parseScopes = (text: string | undefined): Scope[] =>
  (text ?? "").split(/\s+/).flatMap((one) => {
    const colon = one.lastIndexOf(":");
    return colon < 1
      ? []
      : [
          {
            resource: one.slice(0, colon),
            actions: one
              .slice(colon + 1)
              .split(",")
              .filter(Boolean),
          },
        ];
  });

/** One entry for each resource, with all actions, in order: equal sets give equal lists. */
export const mergeScopes = (...lists: readonly (readonly Scope[])[]): Scope[] => {
  const actions = new Map<string, Set<string>>();
  for (const scope of lists.flat())
    actions.set(scope.resource, new Set([...(actions.get(scope.resource) ?? []), ...scope.actions]));
  return [...actions.keys()].sort().map((resource) => ({ resource, actions: [...(actions.get(resource) ?? [])].sort() }));
};

export const scopeTexts = (scopes: readonly Scope[]): string[] =>
  mergeScopes(scopes).map(({ resource, actions }) => `${resource}:${actions.join(",")}`);

/** Whether a token for `had` serves a request that needs `needed`. */
export const covers = (had: readonly Scope[], needed: readonly Scope[]): boolean =>
  needed.every(({ resource, actions }) => {
    const own = had.find((scope) => scope.resource === resource)?.actions ?? [];
    return actions.every((action) => own.includes(action) || own.includes("*"));
  });
