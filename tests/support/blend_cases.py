"""Blends, and a family of such for the contracts of distributions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from scipy import stats
from torch import Tensor

from probmix import families
from probmix.distributions import Blend, LogNormal, StudentT, blend
from probmix.testing.cases import Case

RNG = np.random.default_rng(0)
N = 5
A, B, C, D = (torch.tensor(RNG.uniform(0.5, 3.0, N)) for _ in range(4))
WEIGHTS = torch.tensor(RNG.dirichlet(np.ones(3), N))
LEVELS = torch.tensor([1e-6, 0.01, 0.2, 0.5, 0.9, 0.999]).double()


def even(count, dtype=torch.float64):
    return torch.full((count,), 1 / count, dtype=dtype)


def three(dtype=torch.float64):
    parts = [dist.Normal(A, B), StudentT(2 + C, B, A), LogNormal(0.3 * C, 0.5 * D)]
    if dtype == torch.float32:
        parts = [dist.Normal(A.float(), B.float()), StudentT((2 + C).float(), B.float(), A.float()),
                 LogNormal((0.3 * C).float(), (0.5 * D).float())]  # fmt: skip
    return Blend(WEIGHTS.to(dtype), parts)


def members(i):
    """The parts of row i by SciPy."""
    return [
        stats.norm(A[i].item(), B[i].item()),
        stats.t(2 + C[i].item(), B[i].item(), A[i].item()),
        stats.lognorm(0.5 * D[i].item(), scale=np.exp(0.3 * C[i].item())),
    ]


@dataclass(frozen=True)
class Blended:
    """What the contracts of distributions ask of a family: one of blends of the distributions of others."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    event_dim = 0

    @property
    def bases(self) -> list[Any]:
        return [families.get(name) for name in self.names]

    @property
    def num_raw(self) -> int:
        return sum(base.num_raw for base in self.bases)

    @property
    def num_params(self) -> int:
        return sum(base.num_params for base in self.bases)

    def constrain(self, raw: Tensor) -> Tensor:
        raws = raw.split([base.num_raw for base in self.bases], -1)
        return torch.cat([base.constrain(r) for base, r in zip(self.bases, raws, strict=True)], -1)

    def distribution(self, eta: Tensor) -> Any:
        etas = eta.split([base.num_params for base in self.bases], -1)
        parts = [base.distribution(e) for base, e in zip(self.bases, etas, strict=True)]
        return blend(torch.tensor(self.weights, dtype=eta.dtype), parts)

    def log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        found: Tensor = self.distribution(eta).log_prob(y)
        return found


def blended_case(family: Blended, rows: int, draws: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    eta = family.constrain(torch.randn(rows, family.num_raw, generator=generator, dtype=torch.float64))
    return Case(family, generator, eta, family.distribution(eta).sample(torch.Size([draws])).double())
