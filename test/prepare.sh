#!/bin/sh
# What the tests need beside npm packages, from Debian's mirror; nothing to do where it is there. Prints what it does.
set -eu
missing=''
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }
need runc runc
need mmdebstrap mmdebstrap
need arch-test arch-test
need skopeo skopeo
need buildah buildah
need podman podman
need umoci umoci
need setfattr attr
need dnf dnf
need rpmbuild rpm
need createrepo_c createrepo-c
need docker-registry docker-registry
need openssl openssl
need perl perl
need newuidmap uidmap
need busybox busybox-static
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "tests that need these programs will be skipped:$missing" >&2
  exit 0
fi
echo "installing for the tests:$missing"
apt-get -qq update
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing >/dev/null
