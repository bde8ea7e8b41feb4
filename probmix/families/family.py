"""The contract of a family of densities: what networks, training and estimators ask of it."""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor

from .._names import unknown_name
from .._precision import in_full_precision
from ..distributions import has_atoms, is_discrete
from .bounds import LEAST_SHARE
from .density_points import density_points
from .label import Label, TargetScaler, expectation
from .tools import weighted_mean

LabelPool = Literal["log-linear", "linear", "average", "calibrated"]


class Family(ABC):
    r"""A family of densities p(y; eta) with a parameter vector eta.

    Most are exponential families, derive from `ExponentialFamily`, and pool log-linearly: eta holds their natural
    parameters, and the pool of several densities is the one at their weighted mean. Others, such as the negative
    binomial with a dispersion that is learned, have no such parameters, and products of their powers leave the family.
    They **pool linearly**: where densities of theirs are pooled at the output, ProbMix is the mixture
    :math:`\sum_k w_k\,p(y; \eta_k)`, the label is each of the observed ones with its weight, and members of an ensemble
    are mixed. At the input or at a layer nothing is different, for there it is features that are mixed and no
    density of y.

    Shapes follow one law: parameters have shape ``batch_shape + (num_params,)``, targets ``batch_shape``. Below ``*B``
    stands for everything before the last axis of the parameters. Densities and losses are evaluated in float64 whatever
    the input, in forms that do not cancel, and come back in the dtype of the parameters.

    A family is a frozen dataclass, so that it compares by value, hashes and pickles. To add one, derive from this class
    or from `ExponentialFamily`, implement what is abstract, run `probmix.testing.check_family` on it and
    `probmix.families.register` it.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Links see float32 at least, also under autocast: half precision ends at 65,504, and at 6e-8."""
        super().__init_subclass__(**options)
        if "constrain" in vars(cls):
            type.__setattr__(cls, "constrain", in_full_precision(vars(cls)["constrain"]))

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which `probmix.families.get` finds the family."""

    @property
    @abstractmethod
    def num_params(self) -> int:
        """Length K of the parameter vector."""

    @property
    def num_raw(self) -> int:
        """Number of network outputs that `constrain` needs; K unless a family says otherwise."""
        return self.num_params

    @property
    def pools_log_linearly(self) -> bool:
        """Whether densities are pooled log-linearly, by `pool_params`; linearly unless a family says otherwise."""
        return False

    @property
    def has_second_derivatives(self) -> bool:
        """Whether the loss can be differentiated twice, as learning the weights of a mixup asks."""
        return True

    @property
    def event_dim(self) -> int:
        """Number of axes of one target; 0, but for families of vectors, whose targets are (*B, d)."""
        return 0

    @property
    def is_discrete(self) -> bool:
        """Whether targets are whole numbers."""
        return is_discrete(self.distribution(self.constrain(torch.zeros(self.num_raw))))

    @property
    def has_atoms(self) -> bool:
        """Whether single targets have a probability: whole numbers, or exact zeros beside a density."""
        return has_atoms(self.distribution(self.constrain(torch.zeros(self.num_raw))))

    # -- links ---------------------------------------------------------------------------------------------------------

    @abstractmethod
    def constrain(self, raw: Tensor) -> Tensor:
        """Map network output to valid parameters.

        Parameters
        ----------
        raw : Tensor, (*B, num_raw)

        Returns
        -------
        Tensor, (*B, K)
            Smooth in `raw`, bounded away from the boundary of the domain, finite for any finite float32 input.
        """

    @abstractmethod
    def unconstrain(self, eta: Tensor) -> Tensor:
        """Network output that `constrain` maps to `eta`: (*B, K) -> (*B, num_raw). Used to initialise heads."""

    # -- densities -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        """Pyro distribution with batch shape ``*B`` from parameters (*B, K)."""

    @abstractmethod
    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        """`log_prob` in float64 and in a residual form; `y` may lie between the points of a discrete support."""

    def log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        r"""Log-density or log-probability, evaluated without cancellation.

        Parameters
        ----------
        eta : Tensor, (*B, K)
        y : Tensor, (*B,)

        Returns
        -------
        Tensor, (*B,), in the dtype of `eta`

        Examples
        --------
        >>> import torch
        >>> from probmix import families
        >>> families.get("poisson").log_prob(torch.zeros(1), torch.tensor(2.0))
        tensor(-1.6931)
        """
        return self._log_prob(eta.double(), y.double()).to(eta.dtype)

    def expected_nll(self, eta: Tensor, label: Label) -> Tensor:
        r"""Expected negative log-likelihood of a label, :math:`-E[\log p(\tilde y; \eta)]`.

        Parameters
        ----------
        eta : Tensor, (*B, K)
        label : Label
            From `point_label` or `pool_labels`.

        Returns
        -------
        Tensor, (*B,), in the dtype of `eta`
        """
        return expectation(lambda params, y: -self._log_prob(params, y), eta.double(), label).to(eta.dtype)

    # -- the label side ------------------------------------------------------------------------------------------------

    def pool_params(self, eta: Tensor, weights: Tensor | None = None) -> Tensor:
        r"""Parameters of the log-linear pool of M densities, for a family that `pools_log_linearly`: the weighted mean.

        Parameters
        ----------
        eta : Tensor, (\*B, M, K)
        weights : Tensor, (\*B, M), optional
            On the simplex over the last axis; equal by default.

        Returns
        -------
        Tensor, (\*B, K)

        Examples
        --------
        >>> import torch
        >>> from probmix import families
        >>> families.get("poisson").pool_params(torch.tensor([[0.0], [1.0]]), torch.tensor([0.25, 0.75]))
        tensor([0.7500])
        """
        if weights is None:
            return eta.mean(-2)
        return (weights.to(eta.dtype).unsqueeze(-1) * eta).sum(-2)

    def point_label(self, y: Tensor) -> Label:
        """The observed target itself as a label: (*B,) -> Label."""
        return Label(y.double())

    def for_training(self) -> "Family":
        """The family whose labels train, where they are smoother than those that judge; itself by default."""
        return self

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        """Pool the labels of M points into one.

        Parameters
        ----------
        y : Tensor, (*B, M)
        weights : Tensor, (*B, M)
            On the simplex over the last axis. Of vectors, whose points are (*B, d, M), it is (*B, 1, M).
        spread : float
            Width of a label kernel; a family that is no exponential family has none.
        pool : {"log-linear", "linear", "average"}
            "average" is the label of plain mixup, the weighted mean; both others take the label of point k with
            probability w_k.
        """
        if spread:
            raise ValueError(f"the family {self.name!r} has no label kernel: `label_spread` must be 0, got {spread}.")
        if pool in ("log-linear", "linear"):
            return Label.one_of(y.double(), weights.double(), self.event_dim)
        if pool == "average":
            return Label((weights.double() * y.double()).sum(-1))
        raise unknown_name("label pool", pool, get_args(LabelPool))

    def density_label(self, eta: Tensor, weights: Tensor) -> Label:
        r"""A mixture of densities of the family as a latent label: the label is drawn from it.

        .. math:: \tilde y \sim \sum_k w_k\,p(y; \eta_k)

        Parameters
        ----------
        eta : Tensor, (\*B, C, K)
        weights : Tensor, (\*B, C)
            On the simplex over the last axis.

        Returns
        -------
        Label, batch shape \*B
            Exact for exponential families, whose losses depend on the means of the sufficient statistics only.
            Of others points of each density and their weights: quantiles at the nodes of a Gauss rule over the levels,
            a mass at zero by itself; whole numbers with their masses, or one of each of some 70 ranges of them. Of
            vectors some 256 points all over the density.
        """
        with torch.no_grad():
            y, shares = density_points(self.distribution(eta.double().unsqueeze(-2)), eta.device)
        points = y.flatten(-2 - self.event_dim, -1 - self.event_dim)
        return Label(points, weights=(weights.double().unsqueeze(-1) * shares).flatten(-2))

    def calibrated_label(
        self, y: Tensor, weights: Tensor, eta: Tensor, spread: float = 0.0, eta_points: Tensor | None = None
    ) -> Label:
        """A latent label that leaves the true parameters a stationary point of the loss; exponential families only."""
        raise ValueError(
            f"calibrated labels belong to exponential families; the family {self.name!r} is none. Use "
            "label_pool='linear'."
        )

    # -- target units --------------------------------------------------------------------------------------------------

    def for_targets(self, y: Tensor, weights: Tensor | None = None) -> "Family":
        """The family as these targets need it: how many they are, their bins; itself by default.

        Estimators ask once, before all else.

        Parameters
        ----------
        y : Tensor, (n,) or (n, d), float64
            All targets of a fit, in the user's units.
        weights : Tensor, (n,), optional
            Sample weights.

        Examples
        --------
        >>> import torch
        >>> from probmix.families import MultivariateGaussian
        >>> MultivariateGaussian().for_targets(torch.zeros(10, 3))
        MultivariateGaussian(num_targets=3)
        """
        return self

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        """Target scaling under which the family stays itself; none by default.

        Parameters
        ----------
        y : Tensor
            Targets in the user's units.
        weights : Tensor, optional
            Sample weights, broadcastable against `y`.
        dim : int
            The axis of the rows; it is kept with length 1.
        """
        shape = weighted_mean(y.double(), weights, dim)
        return TargetScaler(torch.zeros_like(shape), torch.ones_like(shape))

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        """Parameters in the user's units, float64: (*B, K) -> (*B, K)."""
        return eta.double()

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        r"""Densities further from the marginal one by a factor, as if every target were further from the mean by it.

        Training by mixup draws targets towards their mean; this is how a prediction takes it back. A location-scale
        family is mapped as a whole, on the log scale or the logit scale where it lives there: location about that of
        the marginal density, and scale. Others have their mean moved in the space of their link, in which, other than
        in natural or in mean parameters, no extrapolation leaves the domain.

        Parameters
        ----------
        eta, marginal : Tensor, (*B, K)
            Parameters of the densities, and of targets without features, `marginal_params`, in the same units.
        factor : float
            Positive.

        Returns
        -------
        Tensor, (*B, K), float64

        Examples
        --------
        >>> import torch
        >>> from probmix import families
        >>> t = families.get("student-t")  # location, logarithm of the scale, and of the degrees of freedom
        >>> t.stretch(torch.tensor([3.0, 0.0, 1.0]), torch.tensor([1.0, 0.5, 2.0]), 2.0)
        tensor([5.0000, 0.6931, 1.0000], dtype=torch.float64)
        """
        raw, centre = self.unconstrain(eta.double()), self.unconstrain(marginal.double())
        return self.constrain(centre + factor * (raw - centre))

    def expose(self, eta: Tensor, log_exposure: Tensor) -> Tensor:
        r"""Parameters for targets that were counted over an exposure, such as years or persons.

        Parameters
        ----------
        eta : Tensor, (*B, K)
            For an exposure of one.
        log_exposure : Tensor, (*B,)
            The logarithm of the exposure, by which the mean is multiplied.

        Returns
        -------
        Tensor, (*B, K)

        Raises
        ------
        ValueError
            If the family is none of counts or totals.
        """
        raise ValueError(
            f"an exposure belongs to counts and totals; the family {self.name!r} has none. Use 'poisson', "
            "'negative-binomial', their zero-inflated forms or 'tweedie', or divide y by the exposure and pass it as "
            "`sample_weight`."
        )

    @abstractmethod
    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        """Parameters fitted to targets without features, by moments; the starting point of a head.

        Arguments are those of `scaler`, with `y` in training units; the result has shape ``y.shape`` with length 1 at
        `dim`, plus (K,).
        """

    def beyond_bounds(self, y: Tensor, weights: Tensor | None = None) -> list[str]:
        """In words, what the targets by themselves show beyond the bounds of the parameters; a fit warns of it.

        Parameters
        ----------
        y : Tensor, (n, ...)
            Targets in the user's units.
        weights : Tensor, optional
            Sample weights, broadcastable against `y`.
        """
        return []

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        """Between which a head's output is taken as it is: none by default.

        Beyond these bounds it fades out within half a unit, see `links.soft_bound`, so that no row, however far out,
        gets a mean that is out of all proportion to the targets or a scale that they do not warrant. Ordinary rows are
        to lie inside.

        Parameters
        ----------
        y, weights, dim
            As in `marginal_params`.
        least : float
            Least scale of the densities as a share of the scale of the targets.

        Returns
        -------
        low, high : Tensor
            Of shape ``y.shape`` with length 1 at `dim`, plus (num_raw,); float64.
        """
        shape = y.amin(dim, keepdim=True)[..., 0] if self.event_dim else y.amin(dim, keepdim=True)
        low = torch.full((*shape.shape, self.num_raw), -math.inf, dtype=torch.float64, device=y.device)
        return low, -low

    def narrowed(self, raw: Tensor, high: Tensor) -> Tensor:
        """A head's output, each number of which is within its own bounds, where these are not enough.

        By default it is as it is; mixtures have their components narrowed by `as_component`.

        Parameters
        ----------
        raw : Tensor, (*B, num_raw)
        high : Tensor
            The upper ones of `raw_bounds`, of the shape of `raw` or with ones in it.
        """
        return raw

    def as_component(self, raw: Tensor, high: Tensor) -> Tensor:
        """The same for a component of a mixture, in whose width hardly any target may have a say; itself by default."""
        return raw

    @abstractmethod
    def check_targets(self, y: Tensor) -> None:
        """Raise a ValueError that names the first target outside the support; NaN is outside every support."""
