"""The members of a mixture along the last axis, in float64."""

from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily


def mixture_weights(mixture: MixtureSameFamily) -> Tensor:
    """Weights, broadcastable to batch + event + (M,)."""
    probs = mixture.mixture_distribution.probs.double()
    probs = probs / probs.sum(-1, keepdim=True)
    return probs.reshape(probs.shape[:-1] + (1,) * len(mixture.event_shape) + probs.shape[-1:])


def members_last(mixture: MixtureSameFamily, parameter: Tensor) -> Tensor:
    """A parameter of the components, (*batch, M, *event), in the shape (*batch, *event, M)."""
    return parameter.double().movedim(-1 - len(mixture.event_shape), -1)


def pooled_probs(mixture: MixtureSameFamily, component: Categorical) -> Tensor:
    """Probabilities of the classes under a mixture of Categoricals."""
    probs = component.probs.double().movedim(-2 - len(mixture.event_shape), -2)
    return (mixture_weights(mixture).unsqueeze(-1) * probs).sum(-2)
