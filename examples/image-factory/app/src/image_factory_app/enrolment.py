"""The enrolment file, `images.yaml`: which images there are and what each stage of them holds."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import yaml

from image_factory_app.document import Document, Problem, read

STAGES = ("base-tools", "dependencies", "application", "runtime")
PLATFORMS = ("linux/amd64", "linux/arm64")
IMAGE_FIELDS = ("repository", "platforms", "base", "stages", "budgets", "context", "ignore", "epoch", "compression")
NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._-]|__)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._-]|__)[a-z0-9]+)*)*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"(?:PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE_KEY|API_KEY)$", re.IGNORECASE)
SIZE = re.compile(r"\d+(?:\.\d+)?\s?(?:B|[kKMGT]i?B)")


@dataclass(frozen=True)
class Image:
    name: str
    repository: str
    platforms: tuple[str, ...]
    base: str
    #: stage name to the kinds of things it holds, each with how many there are
    stages: dict[str, dict[str, int]]
    budgets: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"platforms": list(self.platforms)}


@dataclass(frozen=True)
class Enrolment:
    file: str
    images: tuple[Image, ...]
    problems: tuple[Problem, ...]


def locate(given: str | None, environment: dict[str, str], here: Path, source: Path) -> Path | None:
    """Where the enrolment file is; None when nobody named one and none stands in the usual places."""
    named = given or environment.get("IMAGE_FACTORY_FILE")
    if named:
        return Path(named)
    # The source of an assembled install stands in <root>/app/src/image_factory_app, the file in <root>.
    beside = source.resolve().parents[3:4]
    for folder in (here, *here.parents, *beside):
        candidate = folder / "images.yaml"
        if candidate.is_file():
            return candidate
    return None


def load(path: Path, context: Path | None = None) -> Enrolment:
    """Reads and checks a file; mistakes come back as problems, sorted by place. Raises OSError.

    With `context`, the folder that images are built from, every path of the file must exist in it. An image holds the enrolment
    file but not that folder, so there is nothing to look for inside of one.
    """
    document = read(path)
    images: list[Image] = []
    if not document.problems:
        top = document.fields(document.root, "the file")
        if "images" not in top:
            document.problem(document.root, "images: missing; it names every image")
        else:
            key, value = top["images"]
            entries = document.fields(value, "images")
            if not entries and isinstance(value, yaml.MappingNode):
                document.problem(key, "images: names no image")
            images = [_image(document, context, *entry) for entry in entries.values()]
    return Enrolment(str(path), tuple(images), tuple(sorted(document.problems)))


def _image(document: Document, context: Path | None, key: yaml.Node, node: yaml.Node) -> Image:
    name = key.value
    if not NAME.fullmatch(name):
        document.problem(key, f"{name!r}: an image's name holds lower-case letters and digits, with . _ - between them")
    fields = document.fields(node, name)
    _known(document, fields, IMAGE_FIELDS, name)
    values = {field: value for field, (_, value) in fields.items()}

    repository = document.text(values.get("repository"), f"{name}.repository")
    if repository is not None and not REPOSITORY.fullmatch(repository):
        document.problem(values["repository"], f"{name}.repository: {repository!r} is no repository name")

    platforms: list[str] = []
    for item in document.items(values.get("platforms"), f"{name}.platforms"):
        platform = document.text(item, f"{name}.platforms")
        if platform is None:
            continue
        if platform not in PLATFORMS:
            document.problem(item, f"{name}.platforms: unknown platform {platform!r}{_suggestion(platform, PLATFORMS)}")
        elif platform in platforms:
            document.problem(item, f"{name}.platforms: {platform} stands here twice")
        platforms.append(platform)

    if "stages" not in values:
        document.problem(key, f"{name}: no stages; expected some of {', '.join(STAGES)}")
    stages = document.fields(values.get("stages"), f"{name}.stages")
    _known(document, stages, STAGES, f"{name}.stages")
    below = document.text(values.get("context"), f"{name}.context") or "."
    folder = context / below if context is not None else None
    held = {stage: _stage(document, folder, f"{name}.stages.{stage}", stages[stage][1]) for stage in STAGES if stage in stages}
    return Image(
        name=name,
        repository=repository or name,
        platforms=tuple(platforms),
        base=_base(document, key, values.get("base"), f"{name}.base"),
        stages=held,
        budgets=_budgets(document, values.get("budgets"), f"{name}.budgets"),
    )


def _base(document: Document, key: yaml.Node, node: yaml.Node | None, what: str) -> str:
    if node is None:
        document.problem(key, f"{what}: missing; name an image or a distribution to bootstrap")
        return "?"
    values = {field: value for field, (_, value) in document.fields(node, what).items()}
    if "image" in values:
        reference = document.text(values["image"], f"{what}.image") or "?"
        last = reference.rsplit("/", 1)[-1]
        if "@" not in reference and (":" not in last or last.endswith(":latest")):
            document.problem(values["image"], f"{what}.image: {reference!r} names no version; add a tag or a digest")
        return reference
    if "bootstrap" in values:
        distribution = document.text(values["bootstrap"], f"{what}.bootstrap") or "?"
        return f"{distribution} {document.text(values.get('suite'), f'{what}.suite') or ''}".strip() + " (bootstrapped)"
    document.problem(node, f"{what}: expected `image` or `bootstrap`")
    return "?"


def _stage(document: Document, folder: Path | None, what: str, node: yaml.Node) -> dict[str, int]:
    held: dict[str, int] = {}
    for field, (_, value) in document.fields(node, what).items():
        if field in ("python", "copy"):
            held[field] = len(_paths(value))
            for item in _paths(value):
                _path(document, folder, f"{what}.{field}", item)
        elif isinstance(value, yaml.SequenceNode) or field in ("tools", "files", "env", "labels"):
            held[field] = len(value.value)
        if field == "env":
            for name, (key, _) in document.fields(value, f"{what}.env").items():
                if not VARIABLE.fullmatch(name):
                    document.problem(key, f"{what}.env: {name!r} is no name of a variable")
                elif SECRET.search(name):
                    document.problem(key, f"{what}.env: {name} looks like a secret; everyone who pulls the image could read it")
        elif field == "user":
            _user(document, f"{what}.user", value)
    return held


def _paths(node: yaml.Node) -> list[yaml.ScalarNode]:
    """Paths are written alone, as `path` of a mapping, or as a list of these below `projects`."""
    if isinstance(node, yaml.ScalarNode):
        return [node]
    if isinstance(node, yaml.SequenceNode):
        return [path for item in node.value for path in _paths(item)]
    return [path for key, value in node.value if key.value in ("path", "projects") for path in _paths(value)]


def _path(document: Document, folder: Path | None, what: str, node: yaml.ScalarNode) -> None:
    path = PurePosixPath(node.value)
    if path.is_absolute() or ".." in path.parts:
        document.problem(node, f"{what}: {node.value!r} leaves the context")
    elif folder is not None and not os.path.lexists(folder / path):
        document.problem(node, f"{what}: {node.value!r} does not exist")


def _user(document: Document, what: str, node: yaml.Node) -> None:
    fields = document.fields(node, what)
    uid = fields.get("uid")
    if uid is not None and uid[1].value in ("0", 0):
        document.problem(uid[1], f"{what}.uid: 0 is root; a toolbox runs as an ordinary user")


def _budgets(document: Document, node: yaml.Node | None, what: str) -> dict[str, str]:
    budgets: dict[str, str] = {}
    for name, (_, value) in document.fields(node, what).items():
        if isinstance(value, yaml.MappingNode):
            budgets |= {f"{name}.{inner}": size for inner, size in _budgets(document, value, f"{what}.{name}").items()}
            continue
        amount = document.text(value, f"{what}.{name}")
        if amount is not None:
            budgets[name] = amount
            if name == "size" and not SIZE.fullmatch(amount):
                document.problem(value, f"{what}.size: {amount!r} is no size; write 900MB or 1.5GB")
    return budgets


def _known(document: Document, fields: dict[str, tuple[yaml.Node, yaml.Node]], known: tuple[str, ...], what: str) -> None:
    for name, (key, _) in fields.items():
        if name not in known and not name.startswith("x-"):
            document.problem(key, f"{what}: unknown key {name!r}{_suggestion(name, known)}")


def _suggestion(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
