"""One call for many: `torch.vmap` where it can follow a network, else a loop that says so."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor


class Vectorizer:
    """Calls a function for all entries along the first axis of its arguments at once, if torch can.

    Whether it can is found out by the first call in training mode, and by the first in evaluation mode.

    Parameters
    ----------
    what : str
        What the entries are, for the warning that they are taken one by one.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._follows: dict[bool, bool] = {}

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
            Whether the network is in training mode: it may take another path there.
        changed : tuple of Tensor
            What the function changes in place; put back before a second try.
        """
        count = next(len(argument) for argument in arguments if argument is not None)
        if count == 1 or self._follows.get(training) is False:
            return _loop(function, arguments, count)
        in_dims = tuple(None if argument is None else 0 for argument in arguments)
        vectorized = torch.vmap(function, in_dims=in_dims, randomness="different")
        if training in self._follows:
            return vectorized(*arguments)
        before = [tensor.clone() for tensor in changed]
        try:
            result = vectorized(*arguments)
        except RuntimeError as error:
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
            # an error that has nothing to do with vmap comes up here again
            result = _loop(function, arguments, count)
            self._follows[training] = False
            reason = str(error).splitlines()[0]
            warnings.warn(f"{self._what} run one by one: torch.vmap cannot follow the network ({reason})", stacklevel=2)
            return result
        self._follows[training] = True
        return result


def _loop(function: Callable[..., Tensor], arguments: tuple[Tensor | None, ...], count: int) -> Tensor:
    columns = [[None] * count if argument is None else argument.unbind(0) for argument in arguments]
    return torch.stack([function(*entry) for entry in zip(*columns, strict=True)])
