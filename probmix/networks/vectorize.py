"""One call for many: `torch.vmap` where it can follow a network, else a loop that says so."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._told import warn
from ..random import GENERATOR_LOCK


class Vectorizer:
    """Calls a function for all entries along the first axis of its arguments at once, if torch can.

    Whether it can is found out by the first call in training mode, and by the first in evaluation mode, where a network
    may take another path; other threads wait for it. It cannot if `torch.vmap` fails, or has to loop over an operation
    itself.

    Parameters
    ----------
    what : str
        What the entries are, for the warning that they are taken one by one, which comes once.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._follows: dict[bool, bool] = {}
        self._warned = False

    def __call__(
        self,
        function: Callable[..., Tensor],
        arguments: tuple[Tensor | None, ...],
        training: bool,
        changed: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Results of ``function`` for the entries of the arguments, stacked.

        Parameters
        ----------
        function : callable
            One entry of each argument to a tensor.
        arguments : tuple of Tensor or None
            With the entries along the first axis; None stays None.
        training : bool
            Whether the network is in training mode.
        changed : tuple of Tensor
            What the function changes in place; put back before a second try, as torch's random numbers are.
        """
        entries = next(argument for argument in arguments if argument is not None)
        if len(entries) == 1 or self._follows.get(training) is False:
            return _loop(function, arguments, len(entries))
        in_dims = tuple(None if argument is None else 0 for argument in arguments)
        vectorized = torch.vmap(function, in_dims=in_dims, randomness="different")
        if training in self._follows:
            return vectorized(*arguments)
        with GENERATOR_LOCK:
            if training not in self._follows:
                return self._first_call(function, vectorized, arguments, training, changed)
        # another thread has found out meanwhile
        return self(function, arguments, training, changed)

    def _first_call(
        self,
        function: Callable[..., Tensor],
        vectorized: Callable[..., Tensor],
        arguments: tuple[Tensor | None, ...],
        training: bool,
        changed: tuple[Tensor, ...],
    ) -> Tensor:
        entries = next(argument for argument in arguments if argument is not None)
        before, generator_state = [tensor.clone() for tensor in changed], _generator_state(entries.device)
        result, reason = _attempt(vectorized, arguments)
        if result is None:
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
            _generator_state(entries.device, generator_state)
            # an error that has nothing to do with vmap comes up here again, as it is
            result = _loop(function, arguments, len(entries))
            if not self._warned:
                warn(f"{self._what} run one by one, since torch.vmap cannot follow the network ({reason})")
            self._warned = True
        # a new one: another thread may be copying the network
        self._follows = self._follows | {training: not reason}
        return result


def _attempt(vectorized: Callable[..., Tensor], arguments: tuple[Tensor | None, ...]) -> tuple[Tensor | None, str]:
    """What a vectorised function gives; or None, and why it is of no use."""
    # torch says that it loops over an operation by a warning, at every call anew; it can be made to refuse instead
    functorch: Any = torch._C._functorch
    allowed = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        return vectorized(*arguments), ""
    except Exception as error:  # of torch or of the network: the loop will tell
        return None, _first_sentence(error)
    finally:
        functorch._set_vmap_fallback_enabled(allowed)


def _first_sentence(message: object) -> str:
    return next(iter(str(message).splitlines()), type(message).__name__).split(". ")[0]


def _generator_state(device: torch.device, state: Tensor | None = None) -> Tensor:
    """The state of torch's own generator of a device, which is set before to `state`, if given."""
    if device.type == "cuda":
        if state is not None:
            torch.cuda.set_rng_state(state, device)
        return torch.cuda.get_rng_state(device)
    if state is not None:
        torch.set_rng_state(state)
    return torch.get_rng_state()


def _loop(function: Callable[..., Tensor], arguments: tuple[Tensor | None, ...], count: int) -> Tensor:
    columns = [[None] * count if argument is None else argument.unbind(0) for argument in arguments]
    return torch.stack([function(*entry) for entry in zip(*columns, strict=True)])
