"""Corners of mixup: what has no rows."""

import pytest
import torch
from torch import nn

from probmix import NaturalHead
from probmix.mixup import mixup_loss


@pytest.mark.parametrize("mixup", ["erm", "mixup", "probmix", "c-probmix"])
def test_a_batch_without_rows_is_refused(mixup: str) -> None:
    network = nn.Sequential(nn.Linear(2, 4), NaturalHead("gaussian", 4))

    with pytest.raises(ValueError, match=r"^`x` must have at least one row, .* got none\. Skip empty batches\.$"):
        mixup_loss(network, "gaussian", torch.zeros(0, 2), torch.zeros(0), mixup)
