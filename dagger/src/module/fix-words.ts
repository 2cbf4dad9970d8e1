import { commandText, type Wording } from "../pipeline/common/fix.js";

/** Functions of the module that do what a command does, with the arguments that they take. */
const functions: Readonly<Record<string, string>> = { build: "image", publish: "publish", "verify:cache": "verify" };

/** How a user of the module types what an error tells to do. What no function does is a command of the command line. */
export const callWording: Wording = (action) => {
  if ("plainHttp" in action) return "--plain-http";
  if ("trustFile" in action) return `--ca file:${action.trustFile}`;
  if ("login" in action) return "--username NAME --token env:TOKEN";
  const { run, words = {}, flags } = action;
  const name = functions[run];
  if (name === undefined || flags !== undefined) return `\`${commandText(action)}\` of image-factory's command line`;
  const typed = Object.entries(words).flatMap(([word, value]) => argumentsFor[word]?.(value) ?? []);
  return ["dagger call", name, ...new Set(typed)].join(" ");
};

const argumentsFor: Readonly<Record<string, (value: string) => string[]>> = {
  IMAGE: (value) => [`--image ${value}`],
  PLATFORM: (value) => [`--platform ${value}`],
  NO_CACHE: () => ["--no-cache"],
  REFRESH: () => ["--cache off"],
};
