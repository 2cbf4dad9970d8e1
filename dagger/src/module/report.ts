import type { Client } from "@dagger.io/dagger";
import { stageContents } from "../build/stage-contents.js";
import { buildImage, storeOf } from "./build.js";
import { type Asked, type AskedSecrets, openCall, requireSinglePlatform } from "./request.js";
import { reportOf } from "../pipeline/report/image-report.js";
import { imageReportText } from "../pipeline/report/report-text.js";

/** How many folders, files and copies are named. */
const top = 10;

/**
 * What an image consists of, from the indexes of its executed stages and the entries of its assembled ones; no layer is read a second time.
 * @throws FactoryError of openCall and buildImage
 */
export const reportCall = async (client: Client, asked: Asked & AskedSecrets): Promise<string> => {
  const call = await openCall(client, asked);
  const plan = requireSinglePlatform(call.plans, "a report");
  const store = storeOf(call);
  const contents = await buildImage(call, asked, { store, cache: null }, () =>
    stageContents(store, call.open.snapshot, plan, null, "dagger call image"),
  );
  return imageReportText(reportOf(plan, contents, top), null);
};
