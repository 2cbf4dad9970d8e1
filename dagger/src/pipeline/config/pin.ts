/** `git=1:2.39`, `pyyaml==6.0` and the NEVRA `git-0:2.43-1.el9.x86_64` as name and version. */

export const pinName = (pin: string): readonly [string, string] => {
  const rpm = /^(.+)-(\d+:[^-]+-[^-]+)$/.exec(pin);
  if (rpm !== null) return [rpm[1]!, rpm[2]!];
  const at = pin.indexOf("=");
  return at < 0 ? [pin, ""] : [pin.slice(0, at), pin.slice(at).replace(/^=+/, "")];
};
