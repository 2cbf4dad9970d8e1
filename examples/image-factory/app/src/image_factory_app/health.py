"""The container's self check: does what the toolbox promises still stand? Fast, no network, no process."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from image_factory_app.document import read
from image_factory_app.enrolment import load

DISTRIBUTION = "image-factory-app"
PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    detail: str


def examine(path: Path | None, search: str | None, tools: bool) -> list[Finding]:
    """`search` is a PATH; `tools` asks whether each tool of the enrolment file is found there."""
    findings = [_python(), _distribution(), _parser(), _enrolment(path)]
    if tools:
        findings.extend(_tools(path, search))
    return findings


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info[:2] >= PYTHON, found)


def _distribution() -> Finding:
    try:
        return Finding(DISTRIBUTION, True, importlib.metadata.version(DISTRIBUTION))
    except importlib.metadata.PackageNotFoundError:
        return Finding(DISTRIBUTION, True, "runs from its sources, not installed")


def _parser() -> Finding:
    works = yaml.safe_load("a: [1]") == {"a": [1]}
    return Finding("pyyaml", works, yaml.__version__)


def _enrolment(path: Path | None) -> Finding:
    if path is None:
        return Finding("enrolment", True, "none found, nothing to check")
    try:
        enrolment = load(path)
    except OSError as error:
        return Finding("enrolment", False, f"{path}: {error.strerror}")
    # Style is for `check`: a container is unhealthy only when its file can no longer be read for what it is.
    if not enrolment.images:
        return Finding("enrolment", False, str(enrolment.problems[0]))
    return Finding("enrolment", True, f"{path}: {len(enrolment.images)} images")


def _tools(path: Path | None, search: str | None) -> list[Finding]:
    if path is None or not path.is_file():
        return []
    document = read(path)

    def below(node: yaml.Node | None, key: str) -> yaml.Node | None:
        return document.fields(node, key).get(key, (None, None))[1]

    names: set[str] = set()
    for _, image in document.fields(below(document.root, "images"), "images").values():
        tools = below(below(below(image, "stages"), "base-tools"), "tools")
        # A list of names, or a mapping of names to where each comes from.
        names |= set(document.fields(tools, "tools")) if isinstance(tools, yaml.MappingNode) else {
            node.value for node in document.items(tools, "tools") if isinstance(node, yaml.ScalarNode)
        }
    return [
        Finding(name, (found := shutil.which(name, path=search)) is not None, found or "not on PATH") for name in sorted(names)
    ]
