"""The pages of the documentation as their sources have them; Sphinx is not needed to read these."""

import importlib.util
import re
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = ("_build/", "_static/", "_templates/", "api/generated/", "gallery/")

_MYST_TOCTREE = re.compile(r"^(`{3,}|:{3,})\{toctree\}.*?\n(.*?)^\1", re.MULTILINE | re.DOTALL)
_RST_TOCTREE = re.compile(r"^\.\. toctree::[^\n]*\n((?:[ \t]+[^\n]*\n|\n)*)", re.MULTILINE)


def docs_module(name):
    """A module beside `docs/conf.py`."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages():
    """The text of every page by its name, which has no ending: "guide/frames"."""
    sources = {path.relative_to(DOCS).as_posix(): path for path in DOCS.rglob("*") if path.suffix in (".md", ".rst")}
    return {name.rpartition(".")[0]: path.read_text() for name, path in sources.items() if not name.startswith(MADE)}


def toctree_entries(text):
    """What the toctrees of a page list, options left out."""
    bodies = [body for _, body in _MYST_TOCTREE.findall(text)] + _RST_TOCTREE.findall(text)
    lines = [line.strip() for body in bodies for line in body.splitlines()]
    titled = [re.sub(r"^.*<(.*)>$", r"\1", line) for line in lines]
    return [line for line in titled if line and not line.startswith(":") and line != "---"]


def listed_pages(name, texts):
    """The pages that the toctrees of one page lead to, and the entries that lead to none."""
    found, lost = set(), []
    for entry in toctree_entries(texts[name]):
        place = _normalised(PurePosixPath(name).parent / re.sub(r"\.(md|rst)$", "", entry))
        pattern = re.sub(r"\*+", "*", place)
        hits = {page for page in texts if page != name and _matches(page, pattern)}
        found |= hits
        if not hits and not f"{place}/".startswith(MADE):
            lost.append(entry)
    return found, lost


def _matches(page, pattern):
    """As globs of Sphinx, where a star stays within a folder."""
    parts, patterns = page.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _normalised(path):
    parts = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        elif part not in (".", "/"):
            parts.append(part)
    return "/".join(parts)
