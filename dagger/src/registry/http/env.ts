/** The environment as a value: what is read of it stands with each reader. */
export type Env = Readonly<Record<string, string | undefined>>;
