import type { Client } from "@dagger.io/dagger";
import { stageContents } from "../build/stage-contents.js";
import { buildImage, storeOf } from "./build.js";
import { type RequestArguments, type BuildArguments, openRequest, requireSinglePlatform } from "./request.js";
import { reportOf } from "../pipeline/report/image-report.js";
import { imageReportText } from "../pipeline/report/report-text.js";

/** How many folders, files and copies are named. */
const top = 10;

/**
 * What an image consists of, from the indexes of its executed stages and the entries of its assembled ones; no layer is read a second time.
 * @throws FactoryError of openRequest and buildImage
 */
export const imageReport = async (client: Client, args: RequestArguments & BuildArguments): Promise<string> => {
  const call = await openRequest(client, args);
  const plan = requireSinglePlatform(call.plans, "a report");
  const store = storeOf(call);
  const contents = await buildImage(call, args, { store, cache: null }, () =>
    stageContents(store, call.open.snapshot, plan, null, "dagger call image"),
  );
  return imageReportText(reportOf(plan, contents, top), null);
};
