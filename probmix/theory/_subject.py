"""What the tools look at: a function of rows as they are mixed, and the loss of its outputs."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_integer
from .._numbers import as_numpy
from ..estimators.base import DensityEstimator
from ..estimators.rows import check_rows
from ..estimators.stacked import check_single
from ..families import ExponentialFamily, Family, get
from ..networks.alone import LoneMember
from ._losses import Loss, NaturalLoss, SquaredLoss

Function = Callable[[Tensor], Tensor]
# Numbers that go through a network at once.
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Subject:
    """Rows, the function that sees them, and labels with their loss.

    Attributes
    ----------
    function : callable
        (n, *F) -> (n, U), row by row.
    x : Tensor, (n, *F)
        In the units in which rows are mixed: as they are for a module, standardised for an estimator.
    label : Tensor, (n, L)
    loss : Loss
    """

    function: Function
    x: Tensor
    label: Tensor
    loss: Loss

    def at_once(self) -> int:
        """How many rows to pass at once."""
        return max(1, _AT_ONCE // max(1, math.prod(self.x.shape[1:])))


def subject(model: Any, X: Any, y: Any, family: Any, member: int) -> Subject:
    """The member of a fitted estimator, or a module with its family, with the rows X and targets y.

    Raises
    ------
    ValueError
        For a family that is no exponential one, a module without a family or an estimator with another one, and for
        rows or targets that do not fit.
    """
    module, rows = rows_of(model, X, member)
    if isinstance(model, DensityEstimator):
        if family is not None:
            raise ValueError(
                f"`family` is that of the estimator, {model.family_.name!r}; leave it out. Got {family!r}."
            )
        if model.fitted_with_exposure_:
            raise ValueError(
                "the estimator was fitted with exposures, of which the theory knows nothing. Fit it without, or pass a "
                "module."
            )
        family = model.family_
        targets = torch.tensor(model._validate_targets(as_numpy(y))).to(model.scaler_.loc)
        checked(family).check_targets(targets)
        # in training units
        own = member // model.network_.n_predictions
        targets = replace(model.scaler_, loc=model.scaler_.loc[own], scale=model.scaler_.scale[own]).transform(targets)
    elif family is None:
        raise ValueError("`family` must name the family of the module's outputs, or 'squared' for squared loss.")
    else:
        targets = torch.as_tensor(y).to(rows)
    if len(targets) != len(rows):
        raise ValueError(f"`y` must have as many rows as `X`, {len(rows)}; got {len(targets)}.")
    with torch.no_grad():
        output = module(rows[:1])
    loss = _loss(family, tuple(output.shape[1:]), targets)
    # double precision from the outputs on: derivatives of densities cancel
    label = loss.labels(targets.double())
    return Subject(lambda x: module(x).flatten(1).double(), rows, label, loss)


def rows_of(model: Any, X: Any, member: int) -> tuple[Function, Tensor]:
    """What a model computes, in evaluation mode and with weights of its own, and its rows as they are mixed."""
    if isinstance(model, DensityEstimator):
        check_single(model, "the theory")
        check_integer("member", member, 0)
        count = model.n_members_ * model.network_.n_predictions
        if member >= count:
            each = "" if count == model.n_members_ else f", of {model.network_.n_predictions} predictions each"
            raise ValueError(
                f"`member` must be one of the {model.n_members_} fitted members{each}, from 0; got {member}."
            )
        lone = LoneMember(model.network_, member)
        table = torch.tensor(check_rows(model, X, model.input_shape_, "X"), device=lone.loc.device)
        return lone, lone.standardize(table)
    if not callable(model):
        raise TypeError(
            "`model` must be a fitted DensityRegressor or DensityClassifier, or a module or function of rows; "
            f"got {model!r}."
        )
    like = None
    if isinstance(model, nn.Module):
        # a copy, since layers such as batch normalisation change with every call in training
        model = copy.deepcopy(model).eval().requires_grad_(False)
        like = next((tensor for tensor in model.parameters() if tensor.is_floating_point()), None)
    x = torch.as_tensor(X)
    return model, (x.double() if not x.is_floating_point() else x) if like is None else x.to(like)


def checked(family: Family) -> ExponentialFamily:
    """The family, if it is an exponential one."""
    if not isinstance(family, ExponentialFamily):
        raise ValueError(
            f"the expansions of mixup need an exponential family; {family.name!r} is none, and has no natural "
            "parameters. Use one such as 'gaussian', 'poisson' or 'categorical'."
        )
    return family


def _loss(family: Any, shape: tuple[int, ...], y: Tensor) -> Loss:
    """The loss for outputs of that shape, one row's."""
    if isinstance(family, str) and family == "squared":
        if math.prod(shape) != math.prod(y.shape[1:]):
            raise ValueError(
                f"squared loss compares outputs with targets of their size; got outputs of shape {shape} and targets "
                f"of shape {tuple(y.shape[1:])} per row."
            )
        return SquaredLoss()
    family = checked(get(family))
    family.check_targets(y)
    expected = (*y.shape[1 : y.ndim - family.event_dim], family.num_params)
    if shape != expected:
        raise ValueError(
            f"the natural parameters of the family {family.name!r} must have the shape {expected} per row, for targets "
            f"of shape {tuple(y.shape[1:])}; got {shape}. End the network in a NaturalHead, or reshape `y`."
        )
    return NaturalLoss(family, shape)
