"""Brings the pip that host-tools.txt pins, as a wheel that python3 starts as it is: bring-pip.py FILE.

Debian's python3 comes without pip. The index is PyPI, or the one of PIP_INDEX_URL; the proxies are those of the environment.
"""

import hashlib
import html
import os
import pathlib
import re
import sys
import urllib.parse
import urllib.request

pins = pathlib.Path(__file__).with_name("host-tools.txt").read_text(encoding="utf-8")
pinned = re.search(r"^pip==\S+ \\\n +--hash=sha256:([0-9a-f]{64})$", pins, re.MULTILINE).group(1)
page = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


link = re.search(rf'href="([^"]+)#sha256={pinned}"', read(page).decode())
if link is None:
    sys.exit(f"the package index has no pip with the sha256 {pinned}")
wheel = read(urllib.parse.urljoin(page, html.unescape(link.group(1))))
if hashlib.sha256(wheel).hexdigest() != pinned:
    sys.exit("the package index gave another pip than builder/host-tools.txt pins")
pathlib.Path(sys.argv[1]).write_bytes(wheel)
