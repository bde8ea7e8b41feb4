"""Networks, rows and targets on which the theory is tested."""

import torch
from torch import Tensor, nn

from probmix import families
from probmix.families import ExponentialFamily


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(n: int, p: int, seed: int = 0) -> Tensor:
    """Correlated features, (n, p), float64."""
    x = torch.randn(n, p, generator=seeded(seed), dtype=torch.float64)
    return x + 0.5 * x[:, :1]


def tanh_network(p: int, outputs: int, family: ExponentialFamily | None = None, seed: int = 0, scale: float = 1.0):
    """A perceptron with smooth second derivatives, of a family's natural parameters if there is one."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        layers = [nn.Linear(p, 8), nn.Tanh(), nn.Linear(8, outputs)]
        network = nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= scale
    return network if family is None else nn.Sequential(network, _Constrained(family))


class _Constrained(nn.Module):
    def __init__(self, family: ExponentialFamily) -> None:
        super().__init__()
        self.family = family

    def forward(self, raw: Tensor) -> Tensor:
        return self.family.constrain(raw)


FAMILIES = [
    families.Gaussian(),
    families.Poisson(),
    families.Gamma(),
    families.Categorical(3),
    families.Exponential(),
    families.LogNormal(),
    families.Bernoulli(),
    families.Beta(),
    families.InverseGaussian(),
    families.FixedNegativeBinomial(3.0),
    families.MultivariateGaussian(2),
]


def targets(family: ExponentialFamily, n: int, seed: int = 1) -> Tensor:
    """Targets in the support of a family, (n,) or (n, 2)."""
    z = torch.randn(n, 2, generator=seeded(seed), dtype=torch.float64)
    if family.event_dim:
        return z
    return {
        "gaussian": z[:, 0],
        "categorical": (z[:, 0].abs() * 2).floor().clamp(max=2),
        "bernoulli": (z[:, 0] > 0).double(),
        "beta": torch.sigmoid(z[:, 0]),
        "poisson": (2 * z[:, 0].abs()).round(),
        "fixed-negative-binomial": (3 * z[:, 0].abs()).round(),
    }.get(family.name, z[:, 0].exp())
