import { appendFileSync } from "node:fs";
import { replaceFile } from "../host/atomic-write.js";
import { placeOf, refused } from "./place.js";

/** A report in a file that a person named: replaced whole where it is a file, written into where it is a pipe or a device. @throws FactoryError OUTPUT_FAILED */
export const writeText = async (target: string, text: string): Promise<void> => {
  const { is, path } = await placeOf(target);
  if (is === "folder") throw refused(target, "it is a folder", "name a file");
  if (is === "new" || is === "file") replaceFile(path, text);
  else appendFileSync(path, text);
};
