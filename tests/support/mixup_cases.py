"""What the tests of the mixup loss share."""

from dataclasses import dataclass

import torch

from probmix import families
from probmix.mixup import preset_names

GAUSSIAN = families.get("gaussian")

# A loop of one's own ends mixup by itself, and has no rows that judge a step.
LOSS_PRESETS = [name for name in preset_names() if not name.startswith(("early-stopped-", "meta-"))]


@dataclass(frozen=True)
class FixedWeights:
    """All of the first, and the rest of the others in equal shares."""

    first: float

    def sample(self, shape, uniform, order=2):
        rest = (1 - self.first) / (order - 1)
        return torch.tensor([self.first] + [rest] * (order - 1), dtype=torch.float64).expand(*shape, order)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
