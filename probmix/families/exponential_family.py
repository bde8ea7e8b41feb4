"""The exponential-family contract: everything that does not depend on the particular family lives here."""

from abc import abstractmethod
from typing import get_args

import torch
from torch import Tensor

from .._names import unknown_name
from .expected import expected_nll
from .family import Family, LabelPool
from .label import Label, by_point


class ExponentialFamily(Family):
    r"""Stateless mathematics of one family :math:`p(y) = h(y)\exp(\eta\cdot T(y) - A(\eta))`.

    Parameters are natural ones, and the log-linear pool of several densities is the density at their weighted mean. For
    shapes, precision and how to add a family see `Family`. At a standard deviation of 1e-3 the literal
    :math:`\eta\cdot T(y) - A(\eta)` would lose some 0.03 nats in float32.
    """

    @property
    def pools_log_linearly(self) -> bool:
        return True

    @abstractmethod
    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        """Natural parameters (*B, K) of a torch or Pyro distribution of this family."""

    # -- the exponential-family form -----------------------------------------------------------------------------------

    @abstractmethod
    def sufficient_statistics(self, y: Tensor) -> Tensor:
        """T(y): (*B,) -> (*B, K)."""

    @abstractmethod
    def log_base_measure(self, y: Tensor) -> Tensor:
        """Log h(y): (*B,) -> (*B,)."""

    @abstractmethod
    def log_normalizer(self, eta: Tensor) -> Tensor:
        """A(eta): (*B, K) -> (*B,)."""

    @abstractmethod
    def mean_params(self, eta: Tensor) -> Tensor:
        """Grad A(eta) = E[T(y)]: (*B, K) -> (*B, K)."""

    def residual(self, eta: Tensor, y: Tensor) -> Tensor:
        r"""The gradient of `log_prob` in the natural parameters, :math:`T(y) - \nabla A(\eta)`.

        To be overridden where the difference cancels; of mean zero if y follows eta.

        Parameters
        ----------
        eta : Tensor, (*B, K)
        y : Tensor, (*B,)

        Returns
        -------
        Tensor, (*B, K)

        Examples
        --------
        >>> import torch
        >>> from probmix import families
        >>> families.get("poisson").residual(torch.zeros(1), torch.tensor(2.0))
        tensor([1.])
        """
        return self.sufficient_statistics(y) - self.mean_params(eta)

    def expected_nll(self, eta: Tensor, label: Label) -> Tensor:
        r"""Expected negative log-likelihood of a latent label, in closed form.

        .. math:: -E[\log p(\tilde y)] = A(\eta) - \eta\cdot E[T(\tilde y)] - E[\log h(\tilde y)]

        Parameters
        ----------
        eta : Tensor, (*B, K)
        label : Label
            From `point_label`, `pool_labels` or `calibrated_label`.

        Returns
        -------
        Tensor, (*B,), in the dtype of `eta`
        """
        if label.weights is not None:
            return super().expected_nll(eta, label)
        return expected_nll(self, eta.double(), label).to(eta.dtype)

    # -- the label side ------------------------------------------------------------------------------------------------

    def label_statistics(self, label: Label) -> Tensor:
        """E[T] of a latent label that is no mixture of points, float64: (*B, K)."""
        statistics = self.sufficient_statistics(label.value.double())
        return statistics if label.excess is None else statistics + label.excess

    def kernel_centre(self, y: Tensor, weights: Tensor) -> Tensor:
        """Centre of the log-linear pool of the label kernels around `y`: (*B, M), (*B, M) -> (*B,)."""
        return (weights * y).sum(-1)

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        """E[T] - T(y) under the label kernel around `y`: (*B,) -> (*B, K)."""
        if spread:
            raise ValueError(
                f"the family {self.name!r} defines no label kernel, so `label_spread` must be 0, got {spread}. "
                "Implement `kernel_excess` to give it one."
            )
        return torch.zeros_like(self.sufficient_statistics(y))

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        r"""What averaging labels takes away: :math:`E[T(y)] - E[T(\sum_k w_k y_k)]` for i.i.d. draws at `eta`.

        Parameters
        ----------
        eta : Tensor, (*B, K)
        concentration : Tensor, (*B,)
            :math:`\sum_k w_k^2`.
        """
        raise ValueError(
            f"the family {self.name!r} has no calibrated label side for fusion at the input; "
            "use at='output', or implement `averaging_excess`."
        )

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        r"""Residual statistics of points, carried over to a fused prediction.

        Here :math:`T(y_k) - \nabla A(\eta_k)`. A family in which the scale of the residuals depends on the prediction
        should carry them over in units of that scale, lest a noisy point push a precise one about: whatever depends on
        the predictions only leaves the mean zero at the true parameters.

        Parameters
        ----------
        y : Tensor, (*B, M)
        eta_points : Tensor, (*B, M, K)
            Natural parameters of the points.
        eta : Tensor, (*B, K)
            Natural parameters of the fused prediction.

        Returns
        -------
        Tensor, (*B, M, K)
            Of mean zero if y_k follows eta_k; :math:`T(y) - \nabla A(\eta)` for points that predict `eta` themselves.
        """
        return self.residual(eta_points, y.mT if self.event_dim else y)

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        r"""Pool the labels of M points into one latent label.

        Every observed label carries a kernel of width `spread` (a variance; of log y for positive targets).

        Parameters
        ----------
        y : Tensor, (*B, M)
        weights : Tensor, (*B, M)
            On the simplex over the last axis.
        spread : float
            Width beta of the label kernel.
        pool : {"log-linear", "linear", "average"}
            "log-linear" pools the kernels log-linearly (El-Laham et al. 2025); "linear" takes the label of point k with
            probability w_k; "average" is the label of plain mixup, :math:`\sum_k w_k y_k`.

        Returns
        -------
        Label, batch shape *B

        Examples
        --------
        >>> import torch
        >>> from probmix import families
        >>> y, w = torch.tensor([0.0, 10.0]), torch.tensor([0.5, 0.5])
        >>> families.get("gaussian").pool_labels(y, w, pool="linear").excess  # variance 25 between the two labels
        tensor([ 0., 25.], dtype=torch.float64)
        """
        y, weights = y.double(), weights.double()
        if pool == "log-linear":
            centre = self.kernel_centre(y, weights)
            return Label(centre, self.kernel_excess(centre, spread) if spread else None)
        mean = (weights * y).sum(-1)
        if pool == "average":
            return Label(mean, self.kernel_excess(mean, spread) if spread else None)
        if pool == "linear":
            y, weights = by_point(y, weights, self.event_dim)
            statistics = self.sufficient_statistics(y) + self.kernel_excess(y, spread)
            excess = (weights.unsqueeze(-1) * (statistics - self.sufficient_statistics(mean).unsqueeze(-2))).sum(-2)
            base = (weights * (self.log_base_measure(y) - self.log_base_measure(mean).unsqueeze(-1))).sum(-1)
            return Label(mean, excess, base)
        raise unknown_name("label pool", pool, get_args(LabelPool))

    def centre(self, eta: Tensor) -> Tensor:
        """A target in the middle of a density, at which its statistics are finite: (*B, K) -> (*B,); the mean."""
        return self.distribution(eta).mean

    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        eta, weights = eta.detach().double(), weights.double()
        over_event = weights[(..., *[None] * self.event_dim)]
        value = (over_event * self.centre(eta)).sum(-1 - self.event_dim)
        # E[T] of each density, less T at the centre of all, without the cancellation of either
        beyond = -self.residual(eta, value.unsqueeze(-1 - self.event_dim))
        return Label(value, (weights.unsqueeze(-1) * beyond).sum(-2))

    def calibrated_label(
        self, y: Tensor, weights: Tensor, eta: Tensor, spread: float = 0.0, eta_points: Tensor | None = None
    ) -> Label:
        r"""A latent label that leaves the true parameters a stationary point of the loss.

        With the natural parameters of the points (fusion at the output), residual statistics are mixed,

        .. math:: E[T] = \nabla A(\tilde\eta) + \sum_k w_k\,r_k,

        with the predictions held fixed and :math:`r_k` the `transported_residuals`. Without them (fusion at the input),
        the average label gets back the spread that averaging took away, `averaging_excess`.

        Parameters
        ----------
        y, weights : Tensor, (*B, M)
            Without `eta_points` of different points: give one that is there twice the sum of its weights.
        eta : Tensor, (*B, K)
            Natural parameters of the fused prediction.
        spread : float
            Width of the label kernel, as in `pool_labels`.
        eta_points : Tensor, (*B, M, K), optional
            Natural parameters of the single points.

        Returns
        -------
        Label, batch shape *B

        Notes
        -----
        The label depends on the parameters but no gradient flows through it, and the statistics it stands for may be
        unattainable (a negative variance): the loss is an estimating equation, its value is not a likelihood.
        """
        y, weights, eta = y.double(), weights.double(), eta.detach().double()
        mean = (weights * y).sum(-1)
        points, weights = by_point(y, weights, self.event_dim)
        if eta_points is None:
            excess = self.averaging_excess(eta, weights.square().sum(-1))
            return Label(mean, excess + self.kernel_excess(mean, spread) if spread else excess)
        residual = self.transported_residuals(y, eta_points.detach().double(), eta)
        residual = residual + self.kernel_excess(points, spread)
        pooled = (weights.unsqueeze(-1) * residual).sum(-2)
        return Label(mean, pooled + (self.mean_params(eta) - self.sufficient_statistics(mean)))
