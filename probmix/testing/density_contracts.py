"""Contracts of every family of densities."""

import pickle
from collections.abc import Callable

import torch

from ..distributions import cdf, cdf_below
from ..distributions.point_masses import mass_at
from ..families import ExponentialFamily, Family, Mixture
from .cases import (
    DRAWS,
    EXACT,
    INTEGRAL,
    LINK,
    MANY_DRAWS,
    ROWS,
    SINGLE,
    ZERO,
    Case,
    close,
    draw,
    finite,
    grid,
    log_prob,
    ordinary,
    require,
)

_TRIPLES = 20


def _check_object(case: Case) -> None:
    family = case.family
    require(isinstance(family.name, str) and bool(family.name), f"`name` must be a non-empty str, got {family.name!r}")
    for size in ("num_params", "num_raw"):
        value = getattr(family, size)
        require(isinstance(value, int) and value >= 1, f"`{size}` must be a positive int, got {value!r}")
    require(case.eta.shape == (ROWS, family.num_params), f"`constrain` gave {tuple(case.eta.shape)} for {ROWS} rows")
    # others that do so say how
    knows_how = isinstance(family, ExponentialFamily) or type(family).pool_params is not Family.pool_params
    require(
        knows_how or not family.pools_log_linearly,
        "`pools_log_linearly` belongs to exponential families, and to others that implement `pool_params`",
    )
    copy = pickle.loads(pickle.dumps(family))
    require(copy == family and hash(copy) == hash(family), "the pickled copy is not equal to the family")
    try:
        copy.__setattr__("_probe", None)
    except AttributeError:
        return
    raise AssertionError("the family must be frozen, for example a @dataclass(frozen=True)")


def _check_extremes(case: Case) -> None:
    # what training may well produce, and the largest numbers that float32 holds
    values = torch.tensor([0.0, 1e4, -1e4, 3e38, -3e38])
    choice = torch.randint(len(values), (256, case.family.num_raw), generator=case.generator)
    raw = values[choice].requires_grad_()
    eta = case.family.constrain(raw)
    case.family.distribution(eta.detach())  # validates its arguments
    y = case.y[0, 0].float()
    label = case.family.point_label(y.expand(len(raw), *y.shape))
    finite("`expected_nll`", case.family.expected_nll(eta, label), raw)
    finite("`constrain`", eta, raw)


def _check_round_trips(case: Case) -> None:
    family, eta = case.family, case.eta
    raw = family.unconstrain(eta)
    require(raw.shape == (ROWS, family.num_raw), f"`unconstrain` gave the shape {tuple(raw.shape)}")
    close("constrain(unconstrain(eta))", family.constrain(raw), eta, LINK)


def _check_log_prob(case: Case) -> None:
    family, eta, y = case.family, case.eta, case.y
    close("`distribution(eta).log_prob`", family.distribution(eta).log_prob(y), log_prob(family, eta, y), EXACT)
    eta = eta.float()
    y = family.distribution(eta).sample(torch.Size([DRAWS]))
    single = log_prob(family, eta, y)
    require(single.dtype == torch.float32, f"`log_prob` of float32 parameters is {single.dtype}")
    close("`log_prob` in float32", single, log_prob(family, eta.double(), y.double()), SINGLE)


def _check_mass(case: Case) -> None:
    if case.family.event_dim:
        return  # an integral over vectors
    y, log_step = grid(case.family, case.eta)
    mass = (log_prob(case.family, case.eta, y) + log_step).exp()
    close("the total mass", mass.sum(0), torch.ones_like(mass[0]), INTEGRAL)


def _check_labels(case: Case) -> None:
    family, eta = case.family, case.eta.unsqueeze(1)
    # several triples of targets for every row, lest all be of one class
    y = case.y[: 3 * _TRIPLES].transpose(0, 1).unflatten(1, (_TRIPLES, 3))
    weights = torch.randn(y.shape[:3], generator=case.generator, dtype=torch.float64).softmax(-1)
    single = -log_prob(family, eta.unsqueeze(2), y)
    loss = family.expected_nll(eta, family.point_label(y[:, :, 1]))
    close("`expected_nll` of a point label", loss, single[..., 1], EXACT)
    loss = family.expected_nll(eta, family.pool_labels(*case.groups(y, weights), pool="linear"))
    close("`expected_nll` of a linear pool", loss, (weights * single).sum(-1), EXACT)
    vertex = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand_as(weights)
    for pool in ("log-linear", "linear", "average"):
        loss = family.expected_nll(eta, family.pool_labels(*case.groups(y, vertex), pool=pool))
        close(f"`expected_nll` of a {pool!r} pool at a vertex", loss, single[..., 1], EXACT)


def _check_marginal(case: Case) -> None:
    y = draw(case.family, case.eta, MANY_DRAWS)
    eta = case.family.marginal_params(y)
    shape = (1, ROWS, case.family.num_params)
    require(eta.shape == shape, f"`marginal_params` gave the shape {tuple(eta.shape)}, should be {shape}")
    if isinstance(case.family, Mixture):
        # components that are spread over the targets, where they start, have not their mean to the last digit
        start, middle = case.family.distribution(eta[0]), y.median(0).values
        below, at = cdf_below(start, middle), cdf(start, middle)
        require(
            bool(((below < 0.85) & (at > 0.15)).all()),
            f"`marginal_params` has the median of the targets at the levels {at.tolist()}, should be about 0.5",
        )
        return
    if case.family.event_dim:
        mean = case.family.distribution(eta[0]).mean
    else:
        places, log_step = grid(case.family, eta[0])
        mean = ((log_prob(case.family, eta[0], places) + log_step).exp() * places).sum(0)
    standard_error = y.std(0) / MANY_DRAWS**0.5 + 1e-6
    close("the marginal mean, in standard errors,", (mean - y.mean(0)) / standard_error, ZERO, 5)


def _check_rescale(case: Case) -> None:
    scaler = case.family.scaler(case.y)
    scaled = scaler.transform(case.y)
    case.family.check_targets(scaled)
    eta = ordinary(case.family, case.generator, ROWS)
    dtype = case.family.rescale(eta.float(), scaler).dtype
    require(dtype == torch.float64, f"`rescale` gave {dtype}, should be float64")
    user = log_prob(case.family, case.family.rescale(eta, scaler), case.y)
    volume = scaler.scale.log().expand_as(case.y)
    if case.family.event_dim:
        volume = volume.sum(-1)
    else:
        volume = torch.where(mass_at(case.family.distribution(eta), scaled) > 0, ZERO, volume)  # these have no unit
    close("`log_prob` in the user's units", user, log_prob(case.family, eta, scaled) - volume, EXACT)


def check_stretch(case: Case) -> None:
    """That densities which are moved away from a marginal one are so in any unit, and by factors that multiply."""
    family, scaler = case.family, case.family.scaler(case.y)
    eta, marginal = case.eta, case.eta.flip(0)
    close("`stretch` by a factor of one", family.stretch(eta, marginal, 1.0), eta, LINK)
    twice = family.stretch(family.stretch(eta, marginal, 1.25), marginal, 1.2)
    close("`stretch` by two factors", twice, family.stretch(eta, marginal, 1.5), LINK)
    there = family.rescale(family.stretch(eta, marginal, 1.5), scaler)
    user = family.stretch(family.rescale(eta, scaler), family.rescale(marginal, scaler), 1.5)
    close("`stretch` in the user's units", user, there, LINK)
    family.distribution(there)  # validates its arguments


def check_density_label(case: Case) -> None:
    """That the losses of a mixture of densities as a label are means over draws, but for those of its rule."""
    family, (eta, weights) = case.family, case.points(2)
    label, students = family.density_label(eta, weights), (case.eta, case.eta.flip(0))
    # what does not depend on the parameters may differ
    first, second = (family.expected_nll(student, label) for student in students)
    y = draw(family, eta, MANY_DRAWS)
    logs = [log_prob(family, student.unsqueeze(1), y) for student in students]
    ratio = logs[1] - logs[0]
    want, size = ((weights * one).sum(-1) for one in (ratio.mean(0), ratio.abs().mean(0)))
    error = ratio.std(0).amax(-1) / MANY_DRAWS**0.5
    close(
        "the difference of two losses of a `density_label`, in standard errors and 3 % of its size,",
        (first - second - want) / (error + 0.03 * size),
        ZERO,
        5,
    )


def _check_bounds(case: Case) -> None:
    low, high = case.family.raw_bounds(case.y)
    shape = (1, ROWS, case.family.num_raw)
    for name, end in (("low", low), ("high", high)):
        require(end.shape == shape, f"`raw_bounds` gave the shape {tuple(end.shape)} for {name}, should be {shape}")
    require(bool((low < high).all()), "`raw_bounds` gave a low end that is not below the high one")
    raw = case.family.unconstrain(case.eta)
    inside = bool(((low <= raw) & (raw <= high)).all())
    require(inside, "`raw_bounds` of targets excludes the parameters that they were drawn from")
    high = high.squeeze(0)
    free = torch.full_like(high, torch.inf)
    for name, narrowed in (("narrowed", case.family.narrowed), ("as_component", case.family.as_component)):
        close(f"`{name}` without bounds", narrowed(raw, free), raw, EXACT)
        require(narrowed(raw, high).shape == raw.shape, f"`{name}` changed the shape")


def _check_targets(case: Case) -> None:
    _check_bounds(case)
    case.family.check_targets(case.y)
    y = torch.cat([case.y[0], torch.full_like(case.y[0, :1], torch.nan)])
    try:
        case.family.check_targets(y)
    except ValueError:
        return
    raise AssertionError("`check_targets` lets NaN pass")


def _check_exposure(case: Case) -> None:
    family, log_exposure = case.family, torch.linspace(-1, 1, ROWS, dtype=torch.float64)
    try:
        family.expose(case.eta, torch.zeros_like(log_exposure))
    except ValueError:
        return  # a family without exposures
    exposed = family.expose(case.eta, log_exposure)
    means = [family.distribution(eta).mean for eta in (case.eta, exposed)]
    close("the mean under an exposure", means[1], means[0] * log_exposure.exp(), LINK)


DENSITY_CONTRACTS: dict[str, Callable[[Case], None]] = {
    "object": _check_object,
    "extreme outputs": _check_extremes,
    "round trips": _check_round_trips,
    "log_prob": _check_log_prob,
    "moments": _check_mass,
    "label losses": _check_labels,
    "marginal_params": _check_marginal,
    "rescale": _check_rescale,
    "check_targets": _check_targets,
    "exposure": _check_exposure,
}
