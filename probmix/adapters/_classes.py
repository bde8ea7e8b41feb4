"""Class probabilities as distributions."""

from typing import Any

import numpy as np
import torch

from ..distributions import Categorical

# Probabilities come in float32 too; anything further off is not a distribution over classes.
_TOLERANCE = 1e-4


def from_probabilities(probabilities: Any) -> Categorical:
    """A Categorical in float64 from an array (n, K).

    Raises
    ------
    ValueError
        If it is no such array, or a row is no distribution, as the output for several labels at once is not.
    """
    if isinstance(probabilities, list):
        raise ValueError(
            f"`predict_proba` must give one array (n, classes); got a list of {len(probabilities)}, one for each of "
            "several targets. Score the targets one by one."
        )
    p = torch.tensor(np.asarray(probabilities, dtype=np.float64))
    if p.dim() != 2 or p.shape[-1] == 0:
        raise ValueError(f"class probabilities must have shape (n, classes), got {tuple(p.shape)}.")
    total = p.sum(-1, keepdim=True)
    off = (total - 1).abs().max().item() if p.numel() else 0.0
    # a comparison that NaN fails
    if not (bool((p >= 0).all()) and off <= _TOLERANCE):
        raise ValueError(
            "class probabilities must not be negative and must sum to 1 in each row; "
            f"the smallest was {p.min().item():.3g}, the largest |sum - 1| {off:.3g}."
        )
    # by logits: torch would lift a probability of zero to 2e-16, and its NLL is infinite, not 36
    return Categorical(logits=(p / total).log())
