import { fileURLToPath } from "node:url";

/** A file or folder of the checkout that this program is part of. This module and the compiled program (.factory/bin) are two folders below it. */
export const ownFile = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
