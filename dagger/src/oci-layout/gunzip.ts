import { gunzipSync } from "node:zlib";

/** Bytes that a small part of a stage may unpack to: the largest images have indexes of some tens of megabytes. */
const longest = 256 << 20;

/** The plain bytes of a part that fits into memory. @throws Error for what is no gzip, and for more than 256 MiB */
export const gunzip = (bytes: Uint8Array): Buffer => gunzipSync(bytes, { maxOutputLength: longest });
