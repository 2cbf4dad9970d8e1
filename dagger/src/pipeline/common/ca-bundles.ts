/** Where distributions keep the bundle of certificate authorities: Debian and Alpine, RHEL and Fedora, SUSE, and the rest. */
export const caBundles: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];
