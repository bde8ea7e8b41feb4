"""The contracts of an exponential family as one check, for the families of this package and for anyone else's."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from .families import ExponentialFamily
from .pooling import log_linear_pool

_ROWS, _DRAWS, _MANY_DRAWS, _GRID = 6, 500, 20_000, 10_001
_ZERO = torch.zeros((), dtype=torch.float64)
# Tolerances relative to max(1, |value|). torch's softplus is linear from 20 on, which costs a link exp(-20).
_EXACT, _LINK, _INTEGRAL, _SINGLE = 1e-9, 1e-8, 1e-6, 1e-5


@dataclass(frozen=True)
class _Case:
    """A family at ordinary natural parameters `eta` (B, K), with targets `y` (draws, B) from it, in float64."""

    family: ExponentialFamily
    generator: torch.Generator
    eta: Tensor
    y: Tensor

    def points(self, count: int) -> tuple[Tensor, Tensor]:
        """Natural parameters (B, count, K) of several points, and weights (B, count)."""
        eta = _ordinary(self.family, self.generator, _ROWS, count)
        return eta, torch.randn(_ROWS, count, generator=self.generator, dtype=torch.float64).softmax(-1)


def check_family(family: ExponentialFamily, seed: int = 0) -> None:
    r"""Check that a family keeps the contracts on which the rest of the package relies.

    No reference implementation is needed: the contracts tie the methods to each other, to the distribution, and to
    integrals (sums for discrete families) over its support. They concern

    - the object: a name, positive sizes, frozen, hashable, equal to its pickled copy;
    - links: `constrain` and `expected_nll` are finite with finite gradients in float32 for network outputs up to 3e38,
      and `constrain` undoes `unconstrain`;
    - densities: `log_prob` is :math:`\eta\cdot T(y) - A(\eta) + \log h(y)` in both precisions and that of
      `distribution`, which `natural_params` undoes, and the total mass is one;
    - moments: `mean_params` is the gradient of `log_normalizer` and the expectation of `sufficient_statistics`;
    - pooling: the weighted mean of 2 to 5 natural parameters is the normalised product of powers of the densities;
    - gradients: `residual` is that of `log_prob`, and what `expected_nll` has for a gradient;
    - labels: the losses of point labels, of linear pools and at the vertices of the simplex; the calibrated label's
      gradient, which does not reach the predictions of the points, and residuals of mean zero at the truth;
    - targets: `marginal_params` finds the mean, `rescale` is a change of variables, `check_targets` refuses NaN.

    Parameters
    ----------
    family : ExponentialFamily
        Of scalar targets, on the real line, an interval, or integers.
    seed : int
        Of the natural parameters and draws; the global random state is left alone.

    Raises
    ------
    AssertionError
        With one line for every broken contract: its name and the numbers that disagree.

    Examples
    --------
    >>> from probmix import families
    >>> from probmix.testing import check_family
    >>> check_family(families.get("gamma"))
    """
    failures = []
    with torch.random.fork_rng(devices=[]):
        generator = torch.Generator().manual_seed(seed)
        torch.set_rng_state(generator.get_state())  # torch.manual_seed would reach the devices as well
        for name, contract in _CONTRACTS.items():
            try:
                eta = _ordinary(family, generator, _ROWS)
                contract(_Case(family, generator, eta, _draw(family, eta, _DRAWS)))
            except Exception as error:  # whatever a method raises, the reader wants to know during which contract
                failures.append(f"- {name}: {error if isinstance(error, AssertionError) else repr(error)}")
    if failures:
        raise AssertionError("\n".join([f"{family!r} breaks {len(failures)} contract(s):", *failures]))


# -- the contracts -----------------------------------------------------------------------------------------------------


def _check_object(case: _Case) -> None:
    family = case.family
    _require(isinstance(family.name, str) and bool(family.name), f"`name` must be a non-empty str, got {family.name!r}")
    for size in ("num_params", "num_raw"):
        value = getattr(family, size)
        _require(isinstance(value, int) and value >= 1, f"`{size}` must be a positive int, got {value!r}")
    _require(case.eta.shape == (_ROWS, family.num_params), f"`constrain` gave {tuple(case.eta.shape)} for {_ROWS} rows")
    copy = pickle.loads(pickle.dumps(family))
    _require(copy == family and hash(copy) == hash(family), "the pickled copy is not equal to the family")
    try:
        copy.__setattr__("_probe", None)
    except AttributeError:
        return
    raise AssertionError("the family must be frozen, for example a @dataclass(frozen=True)")


def _check_extremes(case: _Case) -> None:
    # what training may well produce, and the largest numbers that float32 holds
    values = torch.tensor([0.0, 1e4, -1e4, 3e38, -3e38])
    choice = torch.randint(len(values), (256, case.family.num_raw), generator=case.generator)
    raw = values[choice].requires_grad_()
    eta = case.family.constrain(raw)
    case.family.distribution(eta.detach())  # validates its arguments
    label = case.family.point_label(case.y[0, 0].float().expand(len(raw)))
    _finite("`expected_nll`", case.family.expected_nll(eta, label), raw)
    _finite("`constrain`", eta, raw)


def _check_round_trips(case: _Case) -> None:
    family, eta = case.family, case.eta
    raw = family.unconstrain(eta)
    _require(raw.shape == (_ROWS, family.num_raw), f"`unconstrain` gave the shape {tuple(raw.shape)}")
    _close("constrain(unconstrain(eta))", family.constrain(raw), eta, _LINK)
    again = family.natural_params(family.distribution(eta))
    # parameters that are not identified, such as a common shift of logits, move eta . T(y) by the same for all y
    change = ((again - eta) * family.sufficient_statistics(case.y)).sum(-1)
    _close("(natural_params(distribution(eta)) - eta) . T(y), less its mean,", change - change.mean(0), _ZERO, _EXACT)


def _check_log_prob(case: _Case) -> None:
    family, eta, y = case.family, case.eta, case.y
    wide = _log_prob(family, eta, y)
    form = (eta * family.sufficient_statistics(y)).sum(-1) - family.log_normalizer(eta) + family.log_base_measure(y)
    _close("`log_prob`, against eta . T(y) - A(eta) + log h(y),", wide, form, _EXACT)
    _close("`distribution(eta).log_prob`", family.distribution(eta).log_prob(y), wide, _EXACT)
    eta = eta.float()
    y = family.distribution(eta).sample(torch.Size([_DRAWS]))
    single = _log_prob(family, eta, y)
    _require(single.dtype == torch.float32, f"`log_prob` of float32 parameters is {single.dtype}")
    _close("`log_prob` in float32", single, _log_prob(family, eta.double(), y.double()), _SINGLE)


def _check_moments(case: _Case) -> None:
    family, eta = case.family, case.eta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(family.log_normalizer(eta).sum(), eta)
    _close("`mean_params`, against grad A,", family.mean_params(case.eta), gradient, _EXACT)
    y, log_step = _grid(family, case.eta)
    mass = (_log_prob(family, case.eta, y) + log_step).exp()
    _close("the total mass", mass.sum(0), torch.ones_like(mass[0]), _INTEGRAL)
    # far out the statistics may overflow where the mass has long vanished
    statistics = torch.where((mass > 0).unsqueeze(-1), family.sufficient_statistics(y), _ZERO)
    expectation = (mass.unsqueeze(-1) * statistics).sum(0)
    _close("`mean_params`, against E[T(y)],", family.mean_params(case.eta), expectation, _INTEGRAL)


def _check_pooling(case: _Case) -> None:
    for count in range(2, 6):
        eta, weights = case.points(count)
        pooled = log_linear_pool(eta, weights)
        y, log_step = _grid(case.family, pooled)
        singles = torch.stack([_log_prob(case.family, eta[:, k], y) for k in range(count)], -1)
        product = ((weights * singles).sum(-1) + log_step).softmax(0)
        mass = (_log_prob(case.family, pooled, y) + log_step).exp()
        peak = product.amax(0)
        _close(f"the pool of {count} points, relative to its peak,", mass / peak, product / peak, _INTEGRAL)


def _check_labels(case: _Case) -> None:
    family, eta, y = case.family, case.eta, case.y[:3].T
    _, weights = case.points(3)
    single = -_log_prob(family, eta.unsqueeze(1), y)
    loss = family.expected_nll(eta, family.point_label(y[:, 1]))
    _close("`expected_nll` of a point label", loss, single[:, 1], _EXACT)
    loss = family.expected_nll(eta, family.pool_labels(y, weights, pool="linear"))
    _close("`expected_nll` of a linear pool", loss, (weights * single).sum(-1), _EXACT)
    vertex = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand_as(y)
    for pool in ("log-linear", "linear", "average"):
        loss = family.expected_nll(eta, family.pool_labels(y, vertex, pool=pool))
        _close(f"`expected_nll` of a {pool!r} pool at a vertex", loss, single[:, 1], _EXACT)


def _check_residual(case: _Case) -> None:
    family, eta, y = case.family, case.eta.clone().requires_grad_(), case.y[:3].T
    (gradient,) = torch.autograd.grad(_log_prob(family, eta.unsqueeze(1), y)[:, 0].sum(), eta)
    _close("`residual`, against the gradient of `log_prob`,", family.residual(case.eta, y[:, 0]), gradient, _LINK)
    _, weights = case.points(3)
    single = -_log_prob(family, eta.unsqueeze(1), y)
    (want,) = torch.autograd.grad((weights * single).sum(), eta)
    loss = family.expected_nll(eta, family.pool_labels(y, weights, pool="linear"))
    (gradient,) = torch.autograd.grad(loss.sum(), eta)
    _close("the gradient of `expected_nll` of a linear pool", gradient, want, _LINK)


def _check_calibrated_label(case: _Case) -> None:
    points, weights = case.points(3)
    y, eta = case.y[:3].T, log_linear_pool(points, weights).requires_grad_()
    points.requires_grad_()
    loss = case.family.expected_nll(eta, case.family.calibrated_label(y, weights, eta, eta_points=points)).sum()
    gradient, leak = torch.autograd.grad(loss, (eta, points), allow_unused=True)
    residual = case.family.transported_residuals(y, points.detach(), eta.detach())
    _close("the gradient of the calibrated loss", gradient, -(weights.unsqueeze(-1) * residual).sum(-2), _EXACT)
    _require(leak is None or not bool(leak.any()), "a gradient flows through the calibrated label into `eta_points`")


def _check_residuals(case: _Case) -> None:
    family, fused, point = case.family, case.eta, case.points(1)[0]
    y, log_step = _grid(family, point[:, 0])
    mass = (_log_prob(family, point[:, 0], y) + log_step).exp().unsqueeze(-1)
    residual = family.transported_residuals(y.T, point.expand(-1, len(y), -1), fused).transpose(0, 1)
    mean = torch.where(mass > 0, mass * residual, _ZERO).sum(0)
    size = torch.where(mass > 0, mass * residual.abs(), _ZERO).sum(0).clamp(min=1)
    _close("the mean of `transported_residuals` at the truth, relative to their size,", mean / size, _ZERO, _INTEGRAL)
    own = family.transported_residuals(case.y.T, fused.unsqueeze(1).expand(-1, len(case.y), -1), fused)
    want = family.sufficient_statistics(case.y.T) - family.mean_params(fused).unsqueeze(1)
    _close("`transported_residuals` of a point that is the fused one", own, want, _LINK)


def _check_marginal(case: _Case) -> None:
    y = _draw(case.family, case.eta, _MANY_DRAWS)
    eta = case.family.marginal_params(y)
    shape = (1, _ROWS, case.family.num_params)
    _require(eta.shape == shape, f"`marginal_params` gave the shape {tuple(eta.shape)}, should be {shape}")
    grid, log_step = _grid(case.family, eta[0])
    mean = ((_log_prob(case.family, eta[0], grid) + log_step).exp() * grid).sum(0)
    standard_error = y.std(0) / _MANY_DRAWS**0.5 + 1e-6
    _close("the marginal mean, in standard errors,", (mean - y.mean(0)) / standard_error, _ZERO, 5)


def _check_rescale(case: _Case) -> None:
    scaler = case.family.scaler(case.y)
    scaled = scaler.transform(case.y)
    case.family.check_targets(scaled)
    eta = _ordinary(case.family, case.generator, _ROWS)
    dtype = case.family.rescale(eta.float(), scaler).dtype
    _require(dtype == torch.float64, f"`rescale` gave {dtype}, should be float64")
    user = _log_prob(case.family, case.family.rescale(eta, scaler), case.y)
    _close("`log_prob` in the user's units", user, _log_prob(case.family, eta, scaled) - scaler.scale.log(), _EXACT)


def _check_targets(case: _Case) -> None:
    case.family.check_targets(case.y)
    try:
        case.family.check_targets(torch.cat([case.y[0], torch.tensor([torch.nan])]))
    except ValueError:
        return
    raise AssertionError("`check_targets` lets NaN pass")


_CONTRACTS: dict[str, Callable[[_Case], None]] = {
    "object": _check_object,
    "extreme outputs": _check_extremes,
    "round trips": _check_round_trips,
    "log_prob": _check_log_prob,
    "moments": _check_moments,
    "log-linear pooling": _check_pooling,
    "label losses": _check_labels,
    "residual": _check_residual,
    "calibrated label": _check_calibrated_label,
    "transported_residuals": _check_residuals,
    "marginal_params": _check_marginal,
    "rescale": _check_rescale,
    "check_targets": _check_targets,
}


# -- tools -------------------------------------------------------------------------------------------------------------


def _ordinary(family: ExponentialFamily, generator: torch.Generator, *shape: int) -> Tensor:
    return family.constrain(torch.randn(*shape, family.num_raw, generator=generator, dtype=torch.float64))


def _draw(family: ExponentialFamily, eta: Tensor, count: int) -> Tensor:
    draws: Tensor = family.distribution(eta).sample(torch.Size([count])).double()
    return draws


def _log_prob(family: ExponentialFamily, eta: Tensor, y: Tensor) -> Tensor:
    return family.log_prob(eta.expand(*y.shape, family.num_params), y)


def _grid(family: ExponentialFamily, eta: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (N, B) all over the support, and log-weights under which a sum over them is an integral.

    The trapezoidal rule in an unbounded coordinate (log y on a half-line), where densities of exponential families are
    analytic and decay at least exponentially: its error then falls exponentially with the step as well.
    """
    support: Any = family.distribution(eta).support
    draws = _draw(family, eta, _DRAWS)
    if support.is_discrete:
        low = int(getattr(support, "lower_bound", 0))
        high = 1 if support is constraints.boolean else int(getattr(support, "upper_bound", 10 * draws.max() + 200))
        y = torch.arange(low, high + 1, dtype=torch.float64).unsqueeze(-1).expand(-1, len(eta))
        return y, torch.zeros_like(y)
    transform = biject_to(support)
    coordinate = transform.inv(draws)
    low, high = coordinate.amin(0), coordinate.amax(0)
    # the draws span some 6 decay lengths of the slower tail; this leaves exp(-36) outside
    start, width = low - 5 * (high - low), 11 * (high - low)
    u = start + width * torch.linspace(0, 1, _GRID, dtype=torch.float64).unsqueeze(-1)
    y = transform(u)
    log_step = transform.log_abs_det_jacobian(u, y) + (width / (_GRID - 1)).log()
    inside = support.check(y) & y.isfinite()
    return torch.where(inside, y, draws[0]), torch.where(inside, log_step, -torch.inf)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _finite(what: str, value: Tensor, raw: Tensor) -> None:
    (gradient,) = torch.autograd.grad(value.sum(), raw, retain_graph=True)
    for kind, tensor in ((what, value), (f"the gradient of {what}", gradient)):
        bad = ~tensor.isfinite().reshape(len(raw), -1).all(-1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise AssertionError(f"{kind} is {tensor[row].tolist()} for the network output {raw[row].tolist()}")


def _close(what: str, got: Tensor, want: Tensor, tolerance: float) -> None:
    """Agreement relative to max(1, |want|); the message shows the worst pair."""
    got, want = torch.broadcast_tensors(got.double(), want.double())
    error = (got - want).abs() / want.abs().clamp(min=1)
    if not bool((error <= tolerance).all()):
        worst = int(error.nan_to_num(nan=torch.inf, posinf=torch.inf).argmax())
        values = f"{got.flatten()[worst].item():.8g}, should be {want.flatten()[worst].item():.8g}"
        raise AssertionError(f"{what} is {values} (tolerance {tolerance:g})")
