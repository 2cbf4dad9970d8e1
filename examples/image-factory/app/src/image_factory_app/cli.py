"""The command. Results go to stdout, mistakes to stderr; exit codes follow sysexits(3)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from image_factory_app.enrolment import Enrolment, load, locate
from image_factory_app.health import examine

OK, UNHEALTHY, UNKNOWN_NAME, INVALID, MISSING = 0, 1, 64, 65, 66


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    path = locate(options.file, dict(os.environ), Path.cwd(), Path(__file__))
    if options.command == "health":
        return _health(path, options.tools)
    if path is None:
        print("images.yaml: not found here or in a folder above; name it with --file or IMAGE_FACTORY_FILE", file=sys.stderr)
        return MISSING
    try:
        enrolment = load(path, Path(options.context) if options.command == "check" and options.context else None)
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
        return MISSING
    if options.command == "check":
        return _check(enrolment)
    if enrolment.problems and not enrolment.images:
        return _check(enrolment)
    if options.command == "list":
        return _list(enrolment, options.json)
    return _show(enrolment, options.name, options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="image-factory", description=__doc__)
    parser.add_argument("--file", metavar="FILE", help="the enrolment file (default: images.yaml, searched upwards)")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="every image")
    listing.add_argument("--json", action="store_true")
    show = commands.add_parser("show", help="one image")
    show.add_argument("name")
    show.add_argument("--json", action="store_true")
    check = commands.add_parser("check", help="every mistake of the file, with its place")
    check.add_argument("--context", metavar="FOLDER", help="also look for every path of the file in this folder")
    health = commands.add_parser("health", help="self check of the container")
    health.add_argument("--tools", action="store_true", help="also look for each tool of the file on PATH")
    return parser


def _list(enrolment: Enrolment, as_json: bool) -> int:
    if as_json:
        print(json.dumps([image.as_json() for image in enrolment.images], indent=2))
        return OK
    rows = [("image", "repository", "platforms", "base")]
    rows += [(image.name, image.repository, ",".join(image.platforms) or "-", image.base) for image in enrolment.images]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return OK


def _show(enrolment: Enrolment, name: str, as_json: bool) -> int:
    image = next((image for image in enrolment.images if image.name == name), None)
    if image is None:
        known = ", ".join(image.name for image in enrolment.images)
        print(f"{enrolment.file}: no image {name!r}; there are: {known}", file=sys.stderr)
        return UNKNOWN_NAME
    if as_json:
        print(json.dumps(image.as_json(), indent=2))
        return OK
    print(f"{image.name}: {image.repository}")
    print(f"  base       {image.base}")
    print(f"  platforms  {', '.join(image.platforms) or '-'}")
    for stage, held in image.stages.items():
        print(f"  {stage:<13}{', '.join(f'{what} {count}' for what, count in held.items()) or '-'}")
    for budget, amount in image.budgets.items():
        print(f"  budget     {budget} {amount}")
    return OK


def _check(enrolment: Enrolment) -> int:
    for problem in enrolment.problems:
        print(problem, file=sys.stderr)
    if enrolment.problems:
        return INVALID
    print(f"{enrolment.file}: {len(enrolment.images)} images, no mistakes")
    return OK


def _health(path: Path | None, tools: bool) -> int:
    findings = examine(path, os.environ.get("PATH"), tools)
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<18} {finding.detail}")
    return OK if all(finding.ok for finding in findings) else UNHEALTHY
