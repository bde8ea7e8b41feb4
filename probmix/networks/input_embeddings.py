"""What numbers become before the first layer: waves of learned frequencies."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .._checks import check_integer, check_real
from .._names import unknown_name
from ..random import KeyedRandom
from .specs import register_spec

Form = Literal["plr", "pbld"]


@register_spec
@dataclass(frozen=True)
class Periodic:
    r"""Specification of periodic embeddings: each number beside linear maps of waves of learned frequencies.

    .. math:: x \mapsto \bigl(x,\ \mathrm{ReLU}(W [\cos 2\pi w x,\ \sin 2\pi w x] + b)\bigr),\qquad
        w \sim N(0, \sigma^2)

    A perceptron is slow to learn what varies quickly along a column; waves do that for it. Those of form "pbld" are
    :math:`(x,\ W \cos(2\pi w x + c) + b)` with phases c that are uniform in :math:`[-\pi, \pi]` at first. Columns have
    frequencies and weights of their own.

    Parameters
    ----------
    n_frequencies : int
        Waves of a column.
    width : int
        Numbers that they become, behind the column itself.
    scale : float
        :math:`\sigma`. Too small is safe, too large is not.
    form : {"plr", "pbld"}

    References
    ----------
    Gorishniy, Rubachev & Babenko (2022), On Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS.
    Holzmüller, Grinsztajn & Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular
    Data, NeurIPS: the form "pbld", and these sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> from probmix.networks import MLP, Periodic
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> network = MLP((64, 64), embedding=Periodic())
    >>> model = DensityRegressor(network=network, max_epochs=5, random_state=0).fit(X, np.sin(20 * X[:, 0]))
    >>> model.predict(X[:3]).shape
    (3,)
    """

    n_frequencies: int = 16
    width: int = 4
    scale: float = 0.1
    form: Form = "plr"

    def __post_init__(self) -> None:
        check_integer("n_frequencies", self.n_frequencies, 1)
        check_integer("width", self.width, 1)
        check_real("scale", self.scale, 0.0, open_low=True)
        if self.form not in get_args(Form):
            raise unknown_name("form", self.form, get_args(Form))

    @property
    def n_bins(self) -> int:
        """It asks for no quantiles of the training rows."""
        return 0

    def build(self, n_members: int, n_numbers: int) -> "MemberPeriodic":
        """The embedding of so many columns, for M members."""
        return MemberPeriodic(self, n_members, n_numbers)


class MemberPeriodic(nn.Module):
    """M periodic embeddings: (M, N, F) -> (M, N, F + F width), the columns first.

    Attributes
    ----------
    frequencies : nn.Parameter, (M, F, n_frequencies)
        w, not times 2 pi.
    phases : nn.Parameter, (M, F, n_frequencies), or None
        Of the form "pbld".
    weight, bias : nn.Parameter, (M, F, waves, width) and (M, F, 1, width)
        There are as many waves as frequencies, or twice as many of the form "plr".
    """

    def __init__(self, spec: Periodic, n_members: int, n_numbers: int) -> None:
        super().__init__()
        self._spec, self.out_features = spec, n_numbers * (1 + spec.width)
        waves = spec.n_frequencies if spec.form == "pbld" else 2 * spec.n_frequencies
        self.frequencies = nn.Parameter(torch.zeros(n_members, n_numbers, spec.n_frequencies))
        self.phases: nn.Parameter | None = None
        if spec.form == "pbld":
            self.phases = nn.Parameter(torch.zeros(n_members, n_numbers, spec.n_frequencies))
        self.weight = nn.Parameter(torch.zeros(n_members, n_numbers, waves, spec.width))
        self.bias = nn.Parameter(torch.zeros(n_members, n_numbers, 1, spec.width))

    def forward(self, z: Tensor) -> Tensor:
        """Member by member, column by column."""
        members, rows, columns = z.shape
        # one product for each member and column: (M F, N, 1) with (M F, 1, k)
        by_column = z.mT.reshape(members * columns, rows, 1)
        angles = by_column * (2 * math.pi * self.frequencies).reshape(members * columns, 1, -1)
        if self.phases is None:
            waves = torch.cat([angles.cos(), angles.sin()], -1)
        else:
            waves = (angles + self.phases.reshape(members * columns, 1, -1)).cos()
        bias = self.bias.reshape(members * columns, 1, -1)
        embedded = torch.baddbmm(bias, waves, self.weight.reshape(members * columns, waves.shape[-1], -1))
        if self.phases is None:
            embedded = embedded.relu()
        embedded = embedded.view(members, columns, rows, -1).transpose(1, 2).flatten(2)
        return torch.cat([z, embedded], -1)

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom) -> None:
        """Draw frequencies, phases and weights of the members."""
        self.frequencies.copy_(self._spec.scale * random.normal(tuple(self.frequencies.shape[1:])))
        if self.phases is not None:
            self.phases.copy_(math.pi * (2 * random.uniform(tuple(self.phases.shape[1:])) - 1))
        bound = 1 / math.sqrt(self.weight.shape[2])
        for parameter in (self.weight, self.bias):
            parameter.copy_(bound * (2 * random.uniform(tuple(parameter.shape[1:])) - 1))


__all__ = ["MemberPeriodic", "Periodic"]
