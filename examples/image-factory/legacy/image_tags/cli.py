"""Reads tags, one a line, from stdin: `sort` prints those that are versions, oldest first; `latest` the newest release."""

import argparse
import sys
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version


def versions(tags: Iterable[str]) -> list[tuple[Version, str]]:
    """Tags that are versions (a leading v is allowed), oldest first; `latest`, `main` and their kind are left out."""
    found = []
    for tag in tags:
        try:
            found.append((Version(tag), tag))
        except InvalidVersion:
            continue
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="image-tags", description=__doc__)
    parser.add_argument("command", choices=["sort", "latest"])
    command = parser.parse_args().command
    found = versions(line.strip() for line in sys.stdin)
    if command == "sort":
        print("\n".join(tag for _, tag in found))
        return 0
    releases = [tag for version, tag in found if not version.is_prerelease]
    if not releases:
        print("image-tags: no release among the tags", file=sys.stderr)
        return 1
    print(releases[-1])
    return 0
