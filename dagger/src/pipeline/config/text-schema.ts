import * as z from "zod";
import { codePoint, type Extent, firstUnprintable } from "../common/printable.js";

/** The rule for every text of images.yaml and images.lock. The checks behind it are left out where it is broken: one problem, not two. */
const printable = (extent: Extent) =>
  z.string().refine((text) => firstUnprintable(text, extent) === null, {
    abort: true,
    error: ({ input }) => {
      const found = firstUnprintable(String(input), extent);
      const allowed =
        extent === "line" ? "one line without control characters" : "text without control characters but tab and line feed";
      return `expected ${allowed}, found ${found === null ? "none" : codePoint(found)}`;
    },
  });

/** A text of one line. */
export const line = () => printable("line");

/** A text that may have several lines: a command, or what is in a file. */
export const lines = () => printable("lines");
