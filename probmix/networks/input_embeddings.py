"""What numbers become before the first layer: waves of learned frequencies."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .._blocks import is_plain
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


def _embedded(z: Tensor, frequencies: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """Columns and what their waves become: (M, N, F), with parameters as of `MemberPeriodic`, to (M, N, F + F width).

    There is one product for each member and column, rows last: with so few numbers on the last axis it would be slow.
    """
    angles = _by_column(2 * math.pi * frequencies).unsqueeze(-1) * _by_column(z.mT).unsqueeze(1)
    waves = torch.cat([angles.cos(), angles.sin()], 1)
    embedded = torch.baddbmm(_by_column(bias), _by_column(weight), waves).relu()
    return _beside(z, embedded)


def _found(z: Tensor, frequencies: Tensor, bias: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The columns, their waves and what these become, in half of the memory, where torch need not follow."""
    columns = _by_column(z.mT).unsqueeze(1)
    angular = _by_column(2 * math.pi * frequencies).unsqueeze(-1)
    waves = angular.new_empty(len(columns), 2 * angular.shape[1], columns.shape[2])
    cosines, sines = waves.chunk(2, 1)
    # the angles stand where the cosines come: with less memory it is quicker
    torch.mul(angular, columns, out=cosines)
    torch.sin(cosines, out=sines)
    cosines.cos_()
    return columns, waves, torch.baddbmm(_by_column(bias), _by_column(weight), waves).relu_()


def _by_column(values: Tensor) -> Tensor:
    """Of members and columns, (M, F, ...), with one axis for both."""
    return values.reshape(-1, *values.shape[2:])


def _beside(z: Tensor, embedded: Tensor) -> Tensor:
    """Columns, (M, N, F), and behind them what they became, (M F, width, N)."""
    return torch.cat([z.mT, embedded.view(len(z), -1, z.shape[1])], 1).mT


class _Trained(torch.autograd.Function):
    r"""`_embedded` with its gradient by theory: that of the frequencies needs none of the waves.

    With g the gradient before the ReLU and :math:`P = (g \odot x) [\cos; \sin]^\top`, that of frequency j is
    :math:`2\pi \sum_c W_{c, \sin j} P_{c, \cos j} - W_{c, \cos j} P_{c, \sin j}`, from the product that the gradient of
    W takes as well. Differentiated itself, it is that of `_embedded`.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, frequencies: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
        columns, waves, embedded = _found(z, frequencies, bias, weight)
        ctx.save_for_backward(z, frequencies, bias, weight, columns, waves, embedded)
        return _beside(z, embedded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        z, frequencies, bias, weight, columns, waves, embedded = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = z, frequencies, bias, weight
            own = inputs if ctx.needs_input_grad[0] else inputs[1:]
            found = torch.autograd.grad(_embedded(*inputs), own, gradients[0], create_graph=True)
            return found if ctx.needs_input_grad[0] else (None, *found)
        given = gradients[0][..., z.shape[2] :].mT.reshape(embedded.shape)
        # g, and g times x under it
        both = given.new_empty(len(given), 2 * given.shape[1], given.shape[2])
        before, times_column = both.chunk(2, 1)
        torch.mul(given, embedded.sign(), out=before)
        torch.mul(before, columns, out=times_column)
        of_weight, of_angle = torch.bmm(both, waves.mT).chunk(2, 1)
        (cosine_weight, sine_weight), (of_cosine, of_sine) = _by_column(weight).chunk(2, 2), of_angle.chunk(2, 2)
        of_frequency = torch.addcmul(sine_weight * of_cosine, cosine_weight, of_sine, value=-1).sum(1)
        of_z = None
        if ctx.needs_input_grad[0]:
            cosines, sines = waves.chunk(2, 1)
            of_cosines, of_sines = torch.bmm(_by_column(weight).mT, before).chunk(2, 1)
            of_angles = torch.addcmul(of_sines * cosines, of_cosines, sines, value=-1)
            of_columns = torch.bmm(_by_column(2 * math.pi * frequencies).unsqueeze(1), of_angles)
            of_z = gradients[0][..., : z.shape[2]] + of_columns.view(z.mT.shape).mT
        return (
            of_z,
            (2 * math.pi * of_frequency).view(frequencies.shape),
            before.sum(-1).view(bias.shape),
            of_weight.reshape(weight.shape),
        )


class MemberPeriodic(nn.Module):
    """M periodic embeddings: (M, N, F) -> (M, N, F + F width), the columns first.

    Attributes
    ----------
    frequencies : nn.Parameter, (M, F, n_frequencies)
        w, not times 2 pi.
    phases : nn.Parameter, (M, F, n_frequencies), or None
        Of the form "pbld".
    weight, bias : nn.Parameter, (M, F, width, waves) and (M, F, width, 1)
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
        self.weight = nn.Parameter(torch.zeros(n_members, n_numbers, spec.width, waves))
        self.bias = nn.Parameter(torch.zeros(n_members, n_numbers, spec.width, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Member by member, column by column."""
        if self.phases is not None:
            angles = _by_column(2 * math.pi * self.frequencies).unsqueeze(-1) * _by_column(z.mT).unsqueeze(1)
            waves = (angles + _by_column(self.phases).unsqueeze(-1)).cos()
            return _beside(z, torch.baddbmm(_by_column(self.bias), _by_column(self.weight), waves))
        if is_plain(z, self.frequencies, self.bias, self.weight):
            return _beside(z, _found(z, self.frequencies, self.bias, self.weight)[2])
        if self.training and torch.is_grad_enabled():
            trained: Tensor = _Trained.apply(z, self.frequencies, self.bias, self.weight)
            return trained
        return _embedded(z, self.frequencies, self.bias, self.weight)

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom) -> None:
        """Draw frequencies, phases and weights of the members."""
        self.frequencies.copy_(self._spec.scale * random.normal(tuple(self.frequencies.shape[1:])))
        if self.phases is not None:
            self.phases.copy_(math.pi * (2 * random.uniform(tuple(self.phases.shape[1:])) - 1))
        bound = 1 / math.sqrt(self.weight.shape[3])
        for parameter in (self.weight, self.bias):
            parameter.copy_(bound * (2 * random.uniform(tuple(parameter.shape[1:])) - 1))


__all__ = ["MemberPeriodic", "Periodic"]
