"""Metadata that only running this file can tell: the requirements come from requirements.in, the version from the package."""

import re
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent


def requirements() -> list[str]:
    lines = (line.split("#")[0].strip() for line in (here / "requirements.in").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def version() -> str:
    text = (here / "image_tags" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


setup(
    name="image-tags",
    version=version(),
    description="Sorts image tags by version",
    packages=["image_tags"],
    python_requires=">=3.9",
    install_requires=requirements(),
    extras_require={"dev": ["pytest>=8"]},
    entry_points={"console_scripts": ["image-tags = image_tags.cli:main"]},
)
