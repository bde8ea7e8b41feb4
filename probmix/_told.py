"""Warnings that name the line of the user's program."""

import sys
import warnings
from pathlib import Path
from types import FrameType

import sklearn
import torch

# between a user's line and ours are frames of these: decorators, pipelines, searches
_OF_LIBRARIES = tuple(
    str(Path(str(file)).parent) + "/" for file in (__file__, sklearn.__file__, torch.__file__) if file is not None
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """`warnings.warn` from the innermost line that is none of this package, scikit-learn or torch."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_code.co_filename.startswith(_OF_LIBRARIES):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
