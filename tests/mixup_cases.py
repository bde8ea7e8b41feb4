"""What the tests of the mixup loss share."""

from dataclasses import dataclass

import torch

from probmix import families

GAUSSIAN = families.get("gaussian")


@dataclass(frozen=True)
class FixedWeights:
    first: float

    def sample(self, shape, uniform):
        return torch.tensor([self.first, 1 - self.first], dtype=torch.float64).expand(*shape, 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
