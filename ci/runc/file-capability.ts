/** Revisions of security.capability (linux/capability.h, struct vfs_cap_data and vfs_ns_cap_data): the second names no namespace, the third does. */
const [plain, ofNamespace] = [2, 3];
const plainLength = 20;

/**
 * The capabilities of a file as they count in a user namespace whose root is `rootId` on this machine, and nowhere else.
 * @param value in base64, as a layer has it
 */
export const capabilityFor = (value: string, rootId: number): string => {
  const bytes = Buffer.from(value, "base64");
  if (rootId === 0 || bytes.length !== plainLength || bytes[3] !== plain) return value;
  const root = Buffer.alloc(4);
  root.writeUInt32LE(rootId);
  bytes[3] = ofNamespace;
  return Buffer.concat([bytes, root]).toString("base64");
};
