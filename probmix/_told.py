"""Warnings that name the line of the user's program."""

import sys
import warnings
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import partial
from pathlib import Path
from types import FrameType

import sklearn
import torch

# between a user's line and ours are frames of these: decorators, pipelines, searches
_OF_LIBRARIES = tuple(
    str(Path(str(file)).parent) + "/" for file in (__file__, sklearn.__file__, torch.__file__) if file is not None
)
# Where the thread is that another one works for: the user's line is there.
_ASKED_FROM: ContextVar[FrameType | None] = ContextVar("_ASKED_FROM", default=None)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """`warnings.warn` from the innermost line that is none of this package, scikit-learn or torch."""
    frame: FrameType | None = _ASKED_FROM.get() or sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OF_LIBRARIES):
        frame = frame.f_back
    if frame is None:
        # all of the program is ours, as a command is
        frame = sys._getframe(1)
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__", "<string>"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def speaking_from_here(function: Callable[[], None]) -> Callable[[], None]:
    """The function for another thread: it warns as if it were called here, with what is set in this context."""
    context = copy_context()
    context.run(_ASKED_FROM.set, sys._getframe(1))
    return partial(context.run, function)
