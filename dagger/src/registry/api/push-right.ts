import { FactoryError } from "../../pipeline/common/error.js";
import { header } from "./manifests.js";
import { outsideUrl } from "../http/outside-url.js";
import type { Endpoint } from "./session.js";

/** Whether pushing is allowed. `unknown`: the registry could not be asked. */
export type CanPush =
  | { state: "allowed" }
  | { state: "denied"; error: FactoryError }
  | { state: "unknown"; why: string; error: FactoryError };

/**
 * Asks before hours of work are lost at the end: an upload is begun and called off. The registry has no question that costs less:
 * a token with the right `push` is given out by many that refuse the push itself.
 */
export const canPush = async (place: Endpoint): Promise<CanPush> => {
  const doing = `push to ${place.name}`;
  const request = { about: "upload" as const, scopes: place.write, doing };
  try {
    const answer = await place.session.ask({ ...request, method: "POST", to: `${place.base}/blobs/uploads/` });
    if (answer.status !== 202 && answer.status !== 201) throw place.session.refusal(doing, answer);
    const location = header(answer, "location");
    const begun = location === "" ? null : outsideUrl(location, answer.url);
    if (begun !== null) {
      // An upload that is not called off is swept up by the registry some day: failing here changes nothing.
      await place.session
        .ask({ ...request, method: "DELETE", to: begun, retried: false })
        .catch((error: unknown) =>
          error instanceof FactoryError && error.code !== "INTERRUPTED" ? null : Promise.reject(error),
        );
    }
    return { state: "allowed" };
  } catch (error) {
    if (!(error instanceof FactoryError) || error.code === "INTERRUPTED") throw error;
    if (error.code === "REGISTRY_UNREACHABLE")
      return { state: "unknown", why: error.explanation.why.split("\n")[0] ?? "", error };
    return { state: "denied", error };
  }
};
