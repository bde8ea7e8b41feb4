"""Bins between quantiles of the numbers of a table, for input embeddings that have such."""

import torch
from torch import Tensor

from ..networks import MemberNetwork
from .data import TrainingData
from .units import inverse


@torch.no_grad()
def quantile_bins(network: MemberNetwork, data: TrainingData) -> Tensor:
    """Bounds of bins that hold equal shares of each member's standardised numbers, (M, n_bins + 1, n_numbers).

    The first is the least number and the last the largest; where many are equal, bounds are as well.

    Parameters
    ----------
    network : MemberNetwork
        Initialised, with `n_bins`.
    data : TrainingData
        Of a table.
    """
    assert network.layout is not None  # rows of other shapes have no numbers to embed
    count, weights = network.layout.n_numbers, data.unit_weights()
    levels = torch.linspace(0, 1, network.n_bins + 1, dtype=torch.float64, device=data.device).unsqueeze(0)
    bounds = []
    # one after the other, and column by column: those of all would take the memory of all
    for member, rows in enumerate(data.unit_rows):
        share = torch.ones(len(rows), dtype=torch.float64, device=data.device) if weights is None else weights[member]
        rows, share = rows[share > 0], share[share > 0]
        own = network.members(torch.tensor([member], device=data.device)).standardize(data.rows.x[rows])[0, :, :count]
        columns = []
        for column in own.double().unbind(1):
            values, order = column.sort()
            below = share[order].cumsum(0)
            columns.append(inverse(values, (below / below[-1]).unsqueeze(0), levels)[0])
        bounds.append(torch.stack(columns, 1))
    return torch.stack(bounds)
