"""Sampling, quantiles and the CRPS of mixtures, beside what they replaced.

    python benchmarks/mixtures.py --rounds 3

The old ways are below: all components drawn, 64 halvings of a bracket between the components' quantiles, the CRPS by
adaptive quadrature. They are timed on a share of the rows, since some take minutes, and scaled to all of them.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from common import describe, make_parser, ratio_of_rounds, take_turns
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, Normal

from probmix import linear_pool
from probmix.distributions import (
    Beta,
    Blend,
    Gamma,
    LogNormal,
    Mixture,
    NegativeBinomial,
    StudentT,
    Tweedie,
    blend,
    cdf,
    icdf,
    is_discrete,
)
from probmix.distributions.quadrature import quadrature_crps
from probmix.scores import crps

LEVELS = (0.05, 0.95)


def components(kind: str, rows: int, members: int) -> Distribution:
    """As those of an ensemble: rows differ more than the members of one."""
    g = torch.Generator().manual_seed(0)

    def spread(scale: float, shift: float = 0.0) -> Tensor:
        row, member = (torch.randn(rows, m, generator=g, dtype=torch.float64) for m in (1, members))
        return (scale * row + 0.3 * member + shift).exp()

    mean, shape = spread(0.5), spread(0.5, 1.0)
    if kind == "Gammas":
        return Gamma(shape, shape / mean)
    if kind == "Betas":
        p = mean / (1 + mean)
        return Beta(3 * p * shape, 3 * (1 - p) * shape)
    if kind == "Student t":
        return StudentT(2 + shape, mean, 0.3 * spread(0.5))
    if kind == "Tweedies":
        return Tweedie(mean, 1 / shape, 1.5)
    if kind == "Normals":
        return Normal(mean, 0.3 * spread(0.5))
    if kind == "log-normals":
        return LogNormal(mean.log(), shape.rsqrt())
    return NegativeBinomial.from_mean(10 * mean, 1 / shape)


def blended(rows: int) -> Blend:
    """Of 8 members with 5 Normals each and of 8 with one density of two other kinds."""
    kinds = {"Normals": 40, "Student t": 8, "log-normals": 8}
    parts = [linear_pool(components(kind, rows, members)) for kind, members in kinds.items()]
    found = blend(torch.full((3,), 1 / 3, dtype=torch.float64), parts)
    assert isinstance(found, Blend)
    return found


def intervals(mixture: Mixture) -> Tensor:
    return torch.stack([mixture.icdf(torch.tensor(q, dtype=torch.float64)) for q in LEVELS])


def intervals_by_halving(mixture: Mixture) -> Tensor:
    return torch.stack([by_halving(mixture, torch.tensor(q, dtype=torch.float64)) for q in LEVELS])


def by_halving(mixture: Mixture, q: Tensor) -> Tensor:
    ends = icdf(mixture.component_distribution, q)
    low, high = ends.amin(-1), ends.amax(-1)
    whole = is_discrete(mixture)
    low = low - 1 if whole else low
    for _ in range(64):
        middle = ((low + high) / 2).floor() if whole else 0.5 * (low + high)
        if whole and not bool(((low < middle) & (middle < high)).any()):
            break
        below = cdf(mixture, middle) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high


def sample_all(mixture: Mixture, draws: int) -> Tensor:
    return MixtureSameFamily.sample(mixture, torch.Size([draws]))


def timed(work: Callable[[], object]) -> float:
    """Seconds of the processor, which other work on the machine does not lengthen as it does those of the clock."""
    start = time.process_time()
    work()
    return time.process_time() - start


def variants(small: bool) -> dict[str, tuple[Callable[[], object], Callable[[], object], float]]:
    """New, old, and by how much the old one is to be scaled."""
    found = {}
    share = 100 if small else 10
    for kind, members in (("Gammas", 5), ("Gammas", 64), ("negative binomials", 64), ("Betas", 64)):
        part = linear_pool(components(kind, 10_000 // share, members))
        whole = linear_pool(components(kind, 10_000, members))
        found[f"90 % intervals, 10,000 rows, {members} {kind}"] = (
            partial(intervals, whole),
            partial(intervals_by_halving, part),
            float(share),
        )
    for rows, members in ((3_200, 5), (3_200, 64)):
        whole, part = (linear_pool(components("Gammas", n, members)) for n in (rows, rows // (4 * share)))
        y, some = whole.mean, part.mean
        found[f"CRPS, {rows:,} rows, {members} Gammas"] = (
            partial(crps, whole, y),
            partial(quadrature_crps, part, some),
            rows / len(some),
        )
    for kind in ("Student t", "Tweedies"):
        whole, part = (linear_pool(components(kind, n, 64)) for n in (320, 3_200 // share))
        y, some = whole.mean, part.mean
        found[f"CRPS, 320 rows, 64 {kind}"] = (
            partial(crps, whole, y),
            partial(quadrature_crps, part, some),
            320 / len(some),
        )
    mixed, some_mixed = blended(3_000), blended(3_000 // share)
    found["CRPS, 3,000 rows, blend of 40 + 8 + 8 components"] = (
        partial(crps, mixed, mixed.mean),
        partial(quadrature_crps, some_mixed, some_mixed.mean),
        3_000 / len(some_mixed.mean),
    )
    mixture = linear_pool(components("Gammas", 4_000, 64))
    found["50 draws, 4,000 rows, 64 Gammas"] = (partial(mixture.sample, (50,)), partial(sample_all, mixture, 50), 1.0)
    return found


def main() -> None:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--small", action="store_true", help="time the old ways on a hundredth of the rows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(describe(torch.device("cpu")))
    print(f"{'':<52}{'seconds':>9}{'before':>9}  before / now")
    for name, (now, before, scale) in variants(args.small).items():
        measured = take_turns(
            {"now": partial(timed, now), "before": lambda b=before, s=scale: s * timed(b)}, args.rounds
        )
        seconds = [median(measured[key]) for key in ("now", "before")]
        ratio = ratio_of_rounds(measured["before"], measured["now"])
        print(f"{name:<52}{seconds[0]:>9.2f}{seconds[1]:>9.2f}  {ratio}", flush=True)


if __name__ == "__main__":
    main()
