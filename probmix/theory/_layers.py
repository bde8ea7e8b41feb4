"""What layers of a model give."""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._names import unknown_name
from ..fusion import fuse_at
from ..networks.alone import LoneMember
from ._subject import rows_of


class Layers:
    """Rows and the layers of a model that sees them.

    Parameters
    ----------
    model : fitted estimator or nn.Module
    X : array-like, (n, ...)
    member : int
    names : sequence of str, or None
        As places of a `Mixup`; None for all that hold no other layers, and the output.
    """

    def __init__(self, model: Any, X: Any, member: int, names: Sequence[str] | None = None) -> None:
        module, self.x = rows_of(model, X, member)
        if not isinstance(module, nn.Module):
            raise TypeError(f"`model` must be a fitted estimator or an nn.Module, which has layers; got {model!r}.")
        # hooks are registered in it, and may not outlast the call
        self._module = copy.deepcopy(module) if module is model else module
        own = (
            module.places
            if isinstance(module, LoneMember)
            else {name: name for name, _ in module.named_modules() if name}
        )
        self._places = own | {"output": "output"}
        self.names = tuple(self._leaves() if names is None else names)
        for name in self.names:
            if name not in self._places:
                raise unknown_name("layer", name, self._places)

    def _leaves(self) -> list[str]:
        known, leaves = set(self._places.values()), list[str]()
        for name, place in self._places.items():
            holds_others = any(other.startswith(f"{place}.") for other in known)
            if place != "output" and not holds_others and place not in {self._places[leaf] for leaf in leaves}:
                leaves.append(name)
        return [*leaves, "output"]

    @torch.no_grad()
    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of all layers for rows (n, *F), flat and in float64, (n, d)."""
        found: dict[str, Tensor] = {}

        def record(name: str, mean: Tensor, _: Any) -> Tensor:
            found[name] = mean.detach().flatten(1).double()
            return torch.ones_like(mean)

        with ExitStack() as hooks:
            for name in self.names:
                hooks.enter_context(
                    fuse_at(self._module, self._places[name], None, None, embedding=partial(record, name))
                )
            self._module(x)
        return found
