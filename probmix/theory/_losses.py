"""Losses of a network's output u whose label is mixed linearly."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families import ExponentialFamily


class Loss(ABC):
    r"""A loss :math:`\ell = A(u) - u\cdot t + b`; the label holds t, and b or what it follows from.

    So its derivatives are :math:`\nabla_u \ell = \nabla A(u) - t`, :math:`H_{uu} = \nabla^2 A(u)`, whatever the label,
    and :math:`H_{yu} = -I` in t. Outputs are flat, (n, U).
    """

    # H_yy is this number times the identity
    label_curvature: float

    @abstractmethod
    def labels(self, y: Tensor) -> Tensor:
        """Labels of targets, to be mixed linearly: (n, ...) -> (n, L)."""

    @abstractmethod
    def statistics(self, label: Tensor) -> Tensor:
        """The part t of a label: (n, L) -> (n, U)."""

    @abstractmethod
    def value(self, label: Tensor, u: Tensor) -> Tensor:
        """Loss of outputs: (n, L), (n, U) -> (n,)."""

    @abstractmethod
    def mean(self, u: Tensor) -> Tensor:
        """Grad A(u), (n, U) -> (n, U)."""

    def hessian(self, u: Tensor) -> Tensor:
        """Hess A(u): (n, U) -> (n, U, U)."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            means = self.mean(u).unbind(1)
            rows = torch.stack([torch.autograd.grad(mean.sum(), u, retain_graph=True)[0] for mean in means], 1)
        return (rows + rows.mT) / 2


@dataclass(frozen=True)
class SquaredLoss(Loss):
    r"""Half the squared distance, :math:`\tfrac12|u - y|^2`."""

    label_curvature = 1.0

    def labels(self, y: Tensor) -> Tensor:
        return y.reshape(len(y), -1)

    def statistics(self, label: Tensor) -> Tensor:
        return label

    def value(self, label: Tensor, u: Tensor) -> Tensor:
        return 0.5 * (u - label).square().sum(-1)

    def mean(self, u: Tensor) -> Tensor:
        return u


@dataclass(frozen=True)
class NaturalLoss(Loss):
    r"""Negative log-likelihood of natural parameters, :math:`A(\eta) - \eta\cdot T(y) - \log h(y)`; so cross-entropy.

    The label is :math:`(T(y), \log h(y))`.

    Parameters
    ----------
    family : ExponentialFamily
    shape : tuple of int
        Of the natural parameters of a row, ([d,] K).
    """

    family: ExponentialFamily
    shape: tuple[int, ...]
    label_curvature = 0.0

    def labels(self, y: Tensor) -> Tensor:
        base = self.family.log_base_measure(y).reshape(len(y), -1).sum(-1, keepdim=True)
        return torch.cat([self.family.sufficient_statistics(y).flatten(1), base], -1)

    def statistics(self, label: Tensor) -> Tensor:
        return label[..., :-1]

    def value(self, label: Tensor, u: Tensor) -> Tensor:
        normalizer = self.family.log_normalizer(u.unflatten(-1, self.shape)).reshape(len(u), -1).sum(-1)
        return normalizer - (label[..., :-1] * u).sum(-1) - label[..., -1]

    def mean(self, u: Tensor) -> Tensor:
        return self.family.mean_params(u.unflatten(-1, self.shape)).flatten(1)
