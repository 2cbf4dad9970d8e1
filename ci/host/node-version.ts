/** Whether this Node has what the program uses: 22.21 or newer of 22, or 24.5 or newer, as package.json and `./task` say. */
export const isSupportedNode = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major === 22) return minor >= 21;
  return major > 24 || (major === 24 && minor >= 5);
};
