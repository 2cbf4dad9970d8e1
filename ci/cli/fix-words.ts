import { commandText, type Wording } from "../../dagger/src/pipeline/common/fix.js";

/** How a user of the command line types what an error tells to do. */
export const taskWording: Wording = (action) => {
  if ("plainHttp" in action) return `FACTORY_PLAIN_HTTP=${action.plainHttp}`;
  if ("trustFile" in action) return `FACTORY_CA_FILE=${action.trustFile}`;
  if ("login" in action)
    return `docker login ${action.login}   (or podman login; in CI set FACTORY_REGISTRY_USER and FACTORY_REGISTRY_TOKEN)`;
  return `./task ${commandText(action)}`;
};
