import type { Client } from "@dagger.io/dagger";
import { type Asked, type AskedSecrets, imageOfCall, requireSinglePlatform, openCall } from "./request.js";
import { reportOf, type StageContent } from "../pipeline/report/image-report.js";
import { imageReportText } from "../pipeline/report/report-text.js";
import { noShelf } from "./stage-cache.js";

/** How many folders, files and copies are named. */
const top = 10;

/**
 * What an image consists of, from the indexes of its executed stages and the entries of its assembled ones; no layer is read a second time.
 * @throws FactoryError of openCall and imageOfCall
 */
export const reportCall = async (client: Client, asked: Asked & AskedSecrets): Promise<string> => {
  const call = await openCall(client, asked);
  const { image, platform } = requireSinglePlatform(call.plans, "a report");
  const contents: (() => Promise<StageContent>)[] = [];
  await imageOfCall(call, asked, noShelf, (content) => contents.push(content));
  return imageReportText(reportOf({ image, platform }, await Promise.all(contents.map((content) => content())), top), null);
};
