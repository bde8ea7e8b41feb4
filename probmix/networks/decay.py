"""Which parameters of a network weight decay makes small."""

import re

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

# Beside the modules that are named like them: the scale of what is normalised, and what stands for a category.
_SPARED = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.Embedding, nn.EmbeddingBag)
_NORM = re.compile("norm", re.IGNORECASE)
# Parameters that are no maps, whatever module they stand in.
_SPARED_NAMES = re.compile(r"bias|scale|gain|gamma|beta|token|position|embedding|frequenc|phase", re.IGNORECASE)


def decaying(network: nn.Module) -> set[str]:
    """Names of the parameters that decay: the weights of linear maps, convolutions, recurrence and attention.

    Those are the matrices, and what has more axes, but for three kinds: the parameters of normalising layers, which are
    torch's or have "norm" in the name of their class; of `nn.Embedding`; and those whose own name says that they are
    biases, scales, tokens, positions, embeddings, or frequencies and phases of waves.

    Examples
    --------
    >>> from torch import nn
    >>> sorted(decaying(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm((5, 3)), nn.Linear(3, 1))))
    ['0.weight', '2.weight']
    """
    # of a parameter that two modules share the first name counts, as everywhere in torch
    names = {name for name, _ in network.named_parameters()}
    return names & {
        f"{path}.{name}" if path else name
        for path, module in network.named_modules()
        if not (isinstance(module, _SPARED) or _NORM.search(type(module).__name__))
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1 and not _SPARED_NAMES.search(name)
    }
