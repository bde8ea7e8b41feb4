"""A file from which a killed run goes on as if nothing had happened."""

from pathlib import Path
from time import monotonic

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .._files import write_atomically

# Often enough to lose little, rarely enough to cost nothing.
_SECONDS_BETWEEN = 10.0
# What a file holds; another number is a file that a run cannot go on from.
_FORMAT = "3"


class Checkpoint:
    """Writes the state of a run every few seconds, and finds it again.

    Parameters
    ----------
    path : Path
    run : str
        `description` of the run; a file of another run is an error, not a start.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run
        self._start = monotonic()
        self._written: dict[int, float] = {}

    def load(self, device: torch.device) -> dict[str, Tensor] | None:
        """The stored state, or None where there is no file.

        Raises
        ------
        ValueError
            If the file belongs to another run or version, or is no checkpoint.
        """
        if not self._path.exists():
            return None
        try:
            opened = safe_open(self._path, framework="pt", device=str(device))
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"the checkpoint {str(self._path)!r} cannot be read: {error}. Remove it, or choose another "
                "`checkpoint`."
            ) from error
        with opened as file:
            told = file.metadata() or {}
            if told.get("run") != self._run:
                raise ValueError(
                    f"the checkpoint {str(self._path)!r} belongs to other data or settings. "
                    "Remove it, or choose another `checkpoint`."
                )
            if told.get("format") != _FORMAT:
                raise ValueError(
                    f"the checkpoint {str(self._path)!r} was written by another version of probmix. "
                    "Remove it, or choose another `checkpoint`."
                )
            names = file.keys()  # the file itself cannot be iterated over
            return {name: file.get_tensor(name) for name in names}

    def is_due(self, group: int) -> bool:
        """Whether it is long enough ago that the file was written for a group of members."""
        return monotonic() - self._written.get(group, self._start) >= _SECONDS_BETWEEN

    def wait_again(self, group: int) -> None:
        """The file has been written for a group of members."""
        self._written[group] = monotonic()

    def write(self, state: dict[str, Tensor]) -> None:
        """Write the state."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        contiguous = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        write_atomically(self._path, save(contiguous, {"run": self._run, "format": _FORMAT}))

    def remove(self) -> None:
        """Remove the file of a run that has ended."""
        self._path.unlink(missing_ok=True)
