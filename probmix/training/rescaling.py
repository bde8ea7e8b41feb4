"""Where the means are, towards which mixup has drawn the training rows of members."""

import torch
from torch import Tensor

from ..families import Family, TargetScaler
from ..mixup import Mixup
from ..mixup.rescaling import Rescaling
from ..mixup.strength import strength
from ..networks import MemberNetwork
from .data import TrainingData, training_marginal


@torch.no_grad()
def rescaling_of(
    network: MemberNetwork, family: Family, mixup: Mixup, data: TrainingData, scaler: TargetScaler
) -> Rescaling:
    """What rescaled predictions need of a trained network and the rows that trained its members."""
    device = network.loc.device
    data, scaler = data.to(device), scaler.to(device)
    marginal = training_marginal(family, data, scaler)
    return Rescaling(strength(mixup).theta_bar, _centre(network, data), marginal)


def _centre(network: MemberNetwork, data: TrainingData) -> Tensor:
    """Mean of each member's training rows, standardised, (M, 1, *F), float64."""
    rows, weights = data.train_rows, data.train_weights()
    weights = torch.ones_like(rows, dtype=torch.float64) if weights is None else weights
    weights = weights / weights.sum(1, keepdim=True)
    step, total = network.rows_at_once(), torch.zeros((), dtype=torch.float64, device=rows.device)
    for some, shares in zip(rows.split(step, 1), weights.split(step, 1), strict=True):
        standardized = network.standardize(data.rows.x[some]).double()
        total = total + torch.einsum("mn,mn...->m...", shares, standardized)
    return total.unsqueeze(1)
