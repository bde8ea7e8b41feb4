"""Docstrings as reStructuredText: what plain text has and the markup would take for something else."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# `*B` of a shape such as (*B, M, K), which is no start of an emphasis
_STAR_OF_A_SHAPE = re.compile(r"(?<![\w*\\])\*(?=[A-Za-z_]\w*(?![\w*]))")
_CODE = re.compile(r"(`+[^`]*`+)")


def mend(app: "Sphinx", what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """In place, before numpydoc reads the lines."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else _escaped(line) for line in _joined(lines)]


def _joined(lines: list[str]) -> list[str]:
    """A backslash at the end of a line continues it, as Python has it for strings that are not raw."""
    joined: list[str] = []
    for line in lines:
        if joined and joined[-1].endswith(", \\"):
            joined[-1] = joined[-1][:-1] + line.lstrip()
        else:
            joined.append(line)
    return joined


def _escaped(line: str) -> str:
    parts = _CODE.split(line)
    parts[::2] = [_STAR_OF_A_SHAPE.sub(r"\\*", part) for part in parts[::2]]
    return "".join(parts)
