/** By default apt-get ends with 0 when an index cannot be read, and installs from older lists. Before 2.1 apt ignores this option. */
export const aptUpdate = "apt-get -qq -o APT::Update::Error-Mode=any update";

/**
 * apt-get takes a package out of its cache when name and size fit, and installs it unseen (seen with apt 2.6). The cache is shared by builds, so what is
 * in it is held against the checksums of the package lists, which apt has verified: a package that none of them names is downloaded again.
 */
export const aptCacheHeld = [
  "if ls /var/cache/apt/archives/*.deb >/dev/null 2>&1; then",
  "apt-cache dumpavail | sed -n 's/^SHA256: //p' >/var/cache/apt/known;",
  "sha256sum /var/cache/apt/archives/*.deb | while read -r sum deb; do",
  'grep -qxF "$sum" /var/cache/apt/known || rm -f "$deb"; done; fi',
].join(" ");
