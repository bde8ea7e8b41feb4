"""A family at ordinary parameters, and the tools of its contracts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import AffineTransform, ComposeTransform, Distribution, Transform, biject_to, constraints

from ..distributions import atoms, icdf
from ..families import Family

ROWS, DRAWS, MANY_DRAWS, _GRID, _NODES = 6, 500, 20_000, 10_001, 8
ZERO = torch.zeros((), dtype=torch.float64)
# Tolerances relative to max(1, |value|). torch's softplus is linear from 20 on, which costs a link exp(-20).
EXACT, LINK, INTEGRAL, SINGLE = 1e-9, 1e-8, 1e-6, 1e-5


@dataclass(frozen=True)
class Case:
    """A family at ordinary parameters `eta` (B, K), with targets `y` (draws, B[, d]) from it, in float64."""

    family: Family
    generator: torch.Generator
    eta: Tensor
    y: Tensor

    def points(self, count: int) -> tuple[Tensor, Tensor]:
        """Parameters (B, count, K) of several points, and weights (B, count)."""
        eta = ordinary(self.family, self.generator, ROWS, count)
        return eta, torch.randn(ROWS, count, generator=self.generator, dtype=torch.float64).softmax(-1)

    def groups(self, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Targets (*B, M[, d]) and weights (*B, M) as labels are pooled from them, with the points on the last axis."""
        if not self.family.event_dim:
            return y, weights
        return y.mT, weights.unsqueeze(-2)


def ordinary(family: Family, generator: torch.Generator, *shape: int) -> Tensor:
    return family.constrain(torch.randn(*shape, family.num_raw, generator=generator, dtype=torch.float64))


def draw(family: Family, eta: Tensor, count: int) -> Tensor:
    draws: Tensor = family.distribution(eta).sample(torch.Size([count])).double()
    return draws


def log_prob(family: Family, eta: Tensor, y: Tensor) -> Tensor:
    return family.log_prob(eta.expand(*y.shape[: y.ndim - family.event_dim], family.num_params), y)


def grid(family: Family, eta: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (N, B) all over the support, and log-weights under which a sum over them is an integral.

    A point mass beside a density is one at zero.

    The trapezoidal rule in an unbounded coordinate (log y on a half-line, the inverse hyperbolic sine of y around the
    draws on the line), where densities are analytic and decay at least exponentially, also those with the tails of a
    power: its error then falls exponentially with the step as well. Gauss rules between jumps of the density, if its
    distribution has `edges` and the scales of `tails` beyond.
    """
    support: Any = family.distribution(eta).support
    draws = draw(family, eta, DRAWS)
    places = pieces(family.distribution(eta))
    if places is not None:
        return gauss(places)
    if support.is_discrete:
        low = int(getattr(support, "lower_bound", 0))
        high = 1 if support is constraints.boolean else int(getattr(support, "upper_bound", 10 * draws.max() + 200))
        y = torch.arange(low, high + 1, dtype=torch.float64).unsqueeze(-1).expand(-1, len(eta))
        return y, torch.zeros_like(y)
    mass = atoms(family.distribution(eta))[1].sum(0)
    at_zero = bool((mass > 0).any())
    if at_zero:
        # draws from the density alone, of which there may be few among all
        u = (torch.arange(DRAWS, dtype=torch.float64).unsqueeze(-1) + 0.5) / DRAWS
        draws = icdf(family.distribution(eta), torch.lerp(mass, torch.ones_like(mass), u))
    transform = biject_to(support)
    if support is constraints.real:
        low, middle, high = draws.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=0)
        transform = ComposeTransform([_Sinh(), AffineTransform(middle, high - low)])
    coordinate = transform.inv(draws)
    low, high = coordinate.amin(0), coordinate.amax(0)
    # the draws span some 6 decay lengths of the slower tail; this leaves exp(-36) outside
    start, width = low - 5 * (high - low), 11 * (high - low)
    u = start + width * torch.linspace(0, 1, _GRID, dtype=torch.float64).unsqueeze(-1)
    y = transform(u)
    log_step = transform.log_abs_det_jacobian(u, y) + (width / (_GRID - 1)).log()
    inside = support.check(y) & y.isfinite()
    if at_zero:
        inside = inside & (y != 0)
    y, log_step = torch.where(inside, y, draws[0]), torch.where(inside, log_step, -torch.inf)
    if at_zero:
        # zero counts with its probability
        zero = torch.zeros_like(y[:1])
        y, log_step = torch.cat([zero, y]), torch.cat([zero, log_step])
    return y, log_step


def pieces(distribution: Distribution) -> Tensor | None:
    """Places (B, P) between which a density that jumps at its `edges` is smooth; None for one that does not jump."""
    found = [getattr(distribution, name, None) for name in ("edges", "tails")]
    if any(one is None for one in found):
        return None
    edges, tails = (torch.as_tensor(one, dtype=torch.float64) for one in found)
    edges, tails = (t.expand(*distribution.batch_shape, -1) for t in (edges, tails))
    steps = 0.5 * torch.arange(1, 61, dtype=torch.float64)
    low, high = edges[..., :1] - tails[..., :1] * steps.flip(-1), edges[..., -1:] + tails[..., 1:] * steps
    return torch.cat([low, edges, high], -1)


def gauss(places: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (N, B) in pieces between places (B, P), and the logarithms of their weights."""
    nodes, rule = (torch.from_numpy(t) for t in np.polynomial.legendre.leggauss(_NODES))
    half = 0.5 * places.diff().unsqueeze(-1)
    y = 0.5 * (places[:, 1:] + places[:, :-1]).unsqueeze(-1) + half * nodes
    return y.flatten(1).T, (half * rule).log().flatten(1).T


def cdf_by_pieces(distribution: Distribution, places: Tensor, y: Tensor) -> Tensor:
    """The integral of a density that is smooth between places (B, P) up to targets (N, B)."""
    cut, _ = torch.cat([places, y.T], -1).sort(-1)
    points, log_step = gauss(cut)
    mass = (distribution.log_prob(points) + log_step).exp().T.unflatten(-1, (-1, _NODES)).sum(-1)
    below = torch.cat([torch.zeros_like(mass[:, :1]), mass.cumsum(-1)], -1)
    return below.gather(-1, torch.searchsorted(cut, y.T.contiguous())).T


class _Sinh(Transform):
    """The hyperbolic sine, which makes tails that fall off as a power fall off exponentially."""

    domain = codomain = constraints.real
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return x.sinh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.asinh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.cosh().log()


def require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def finite(what: str, value: Tensor, raw: Tensor) -> None:
    (gradient,) = torch.autograd.grad(value.sum(), raw, retain_graph=True)
    for kind, tensor in ((what, value), (f"the gradient of {what}", gradient)):
        bad = ~tensor.isfinite().reshape(len(raw), -1).all(-1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise AssertionError(f"{kind} is {tensor[row].tolist()} for the network output {raw[row].tolist()}")


def close(what: str, got: Tensor, want: Tensor, tolerance: float) -> None:
    """Agreement relative to max(1, |want|); the message shows the worst pair."""
    got, want = torch.broadcast_tensors(got.double(), want.double())
    error = (got - want).abs() / want.abs().clamp(min=1)
    if not bool((error <= tolerance).all()):
        worst = int(error.nan_to_num(nan=torch.inf, posinf=torch.inf).argmax())
        values = f"{got.flatten()[worst].item():.8g}, should be {want.flatten()[worst].item():.8g}"
        raise AssertionError(f"{what} is {values} (tolerance {tolerance:g})")
