"""YAML with places: every value knows the line it stands in, and mistakes are collected instead of thrown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass
class Document:
    file: str
    root: yaml.Node | None
    problems: list[Problem] = field(default_factory=list)

    def problem(self, node: yaml.Node | None, message: str) -> None:
        mark = node.start_mark if node is not None else None
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        # An anchored part is met once for each image that uses it, and named after the first; it is one mistake.
        seen = {(other.line, other.column, other.message.partition(": ")[2]) for other in self.problems}
        if (line, column, message.partition(": ")[2]) not in seen:
            self.problems.append(Problem(self.file, line, column, message))

    def fields(self, node: yaml.Node | None, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The entries of a mapping, merge keys resolved: name to (key, value). Anything else is a problem and empty."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, f"{what}: expected a mapping, found {kind(node)}")
            return {}
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if key.tag == MERGE:
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    for name, entry in self.fields(source, "<<").items():
                        merged.setdefault(name, entry)
            elif not isinstance(key, yaml.ScalarNode):
                self.problem(key, f"{what}: a key must be a plain word")
            elif key.value in own:
                self.problem(key, f"{what}: {key.value!r} stands here twice")
            else:
                own[key.value] = (key, value)
        return merged | own

    def items(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, f"{what}: expected a list, found {kind(node)}")
            return []
        return list(node.value)

    def text(self, node: yaml.Node | None, what: str) -> str | None:
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag.endswith(":null"):
            self.problem(node, f"{what}: expected text, found {kind(node)}")
            return None
        return node.value


def kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if node.tag.endswith(":null") else f"{node.value!r}"


def read(path: Path) -> Document:
    """Reads a file. Text that is no YAML is a problem like any other. Raises OSError when the file cannot be read."""
    document = Document(str(path), None)
    try:
        with path.open(encoding="utf-8") as stream:
            document.root = yaml.compose(stream, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        document.problems.append(Problem(document.file, 1, 1, f"not UTF-8: {error.reason} at byte {error.start}"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        document.problems.append(Problem(document.file, line, column, error.problem or "not YAML"))
    except yaml.YAMLError as error:
        document.problems.append(Problem(document.file, 1, 1, str(error).splitlines()[0]))
    return document
