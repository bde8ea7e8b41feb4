"""The network of an estimator, from its parameters."""

from collections.abc import Sequence

from torch import Tensor

from ..families import Family
from ..mixup import Mixup
from ..mixup.config import ENDS
from ..networks import EMBEDDING, DensityNetwork, MemberNetwork, NetworkLike, StackedNetwork


def build_network(
    own: NetworkLike | None,
    hidden_layer_sizes: Sequence[int],
    family: Family,
    input_shape: tuple[int, ...],
    num_targets: int | None,
    keys: Tensor,
    mixup: Mixup,
) -> MemberNetwork:
    """The built-in perceptron, or the user's network, with the variance network that a mixup needs.

    Raises
    ------
    ValueError
        If the mixup names a layer that the network does not have, with the near misses.
    """
    place = mixup.layers[0] if mixup.layers else EMBEDDING
    network: MemberNetwork
    if own is not None:
        network = StackedNetwork(family, own, input_shape, num_targets, keys, mixup.embedding, place)
    else:
        in_features, members = input_shape[0], len(keys)
        network = DensityNetwork(family, in_features, hidden_layer_sizes, num_targets, members, mixup.embedding, place)
    for place in mixup.layers:
        if place not in ENDS:
            network.check_place(place)
    return network
