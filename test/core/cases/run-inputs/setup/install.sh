#!/bin/sh
set -eu
cp "$1"/*.crt /usr/local/share/ca-certificates/
