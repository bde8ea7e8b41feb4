"""The network of an estimator, from its parameters."""

from torch import Tensor

from ..families import Family
from ..mixup import Mixup
from ..mixup.config import ENDS
from ..networks import (
    EMBEDDING,
    ColumnLayout,
    DensityNetwork,
    MemberNetwork,
    NetworkLike,
    NetworkSpec,
    StackedNetwork,
)


def check_composition(network: object, mixup: Mixup) -> None:
    """Raise if the mixup cannot be had with a built-in network."""
    if isinstance(network, NetworkSpec) and network.n_predictions > 1 and mixup.criterion == "quadratic":
        raise ValueError(
            "criterion='quadratic' expands the loss of one prediction for each row, and "
            f"{type(network).__name__} makes {network.n_predictions}. Use MLP or ResNet, or another criterion."
        )


def build_network(
    network: NetworkLike | NetworkSpec,
    family: Family,
    input_shape: tuple[int, ...],
    num_targets: int | None,
    keys: Tensor,
    mixup: Mixup,
    layout: ColumnLayout | None = None,
) -> MemberNetwork:
    """A built-in network, or the user's own, with the variance network that a mixup needs.

    Raises
    ------
    ValueError
        If the mixup names a layer that the network does not have, with the near misses.
    """
    place = mixup.layers[0] if mixup.layers else EMBEDDING
    built: MemberNetwork
    if isinstance(network, NetworkSpec):
        built = DensityNetwork(family, input_shape[0], network, num_targets, len(keys), mixup.embedding, place, layout)
    else:
        built = StackedNetwork(family, network, input_shape, num_targets, keys, mixup.embedding, place, layout)
    for place in mixup.layers:
        if place not in ENDS:
            built.check_place(place)
    return built
