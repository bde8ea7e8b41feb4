"""Variance networks, which make a layer's output the mean of a Gaussian density."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from .._names import unknown_name
from .._precision import at_least_float32
from ..random import KeyedRandom
from .mlp import MemberLinear

EmbeddingKind = Literal["point", "gaussian", "gaussian-separate", "gaussian-constant"]

# Standard deviations from 1e-3 to 1e3. A clamp will do, where families have smooth links: at these ends the noise is
# nothing, or everything.
_LIMITS = -14.0, 1e6
# Little noise to begin with, so that the mean has something to say: a precision of 7.
_FIRST = 7.0


class GaussianEmbedding(nn.Module):
    r"""Precision of a Gaussian embedding :math:`q(z \mid x) = N(h(x), \operatorname{diag} s^2(x))` of mean h.

    .. math:: s^{-2} = \log(1 + e^r),\qquad -14 \le r \le 10^6

    where r is what the variance network says. Away from the data the precision grows no faster than the network does,
    which leaves some noise there; an exponential link takes it away (measured on the toy regression). The parameters
    are no part of the network that has the layer: give them to the optimiser as well.

    Parameters
    ----------
    features : int
        Length d of the last axis of the layer's output.
    kind : {"gaussian", "gaussian-separate", "gaussian-constant"}
        The variance network: a linear layer on the layer's output, which shares with the mean all that leads to it; a
        network with one hidden layer, as wide as the embedding, on the input of the module; or one learned number per
        feature.
    in_features : int, optional
        Number of numbers in a row of the module's input; needed by "gaussian-separate".
    n_members : int, optional
        With it everything has a leading member axis M.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, section 4. The paper does not state
    the link, nor where the variance starts (here at a precision of 7, a standard deviation of 0.38).

    Examples
    --------
    >>> import torch
    >>> from probmix import GaussianEmbedding
    >>> embedding = GaussianEmbedding(16)
    >>> embedding(torch.zeros(5, 16), torch.zeros(5, 3)).shape
    torch.Size([5, 16])
    """

    def __init__(
        self,
        features: int,
        kind: EmbeddingKind = "gaussian",
        in_features: int | None = None,
        n_members: int | None = None,
    ) -> None:
        super().__init__()
        if kind not in get_args(EmbeddingKind)[1:]:
            raise unknown_name("variance network", kind, get_args(EmbeddingKind)[1:])
        self.kind = kind
        self.features = features
        self._row_axes = 1 if n_members is None else 2
        linear: Callable[[int, int], nn.Module] = nn.Linear if n_members is None else partial(MemberLinear, n_members)
        self.hidden: nn.Module | None = None
        self.output: nn.Module | None = None
        if kind == "gaussian-constant":
            shape = (features,) if n_members is None else (n_members, 1, features)
            self.bias = nn.Parameter(torch.full(shape, _FIRST))
            return
        if kind == "gaussian-separate":
            if in_features is None:
                raise ValueError("a separate variance network looks at the input: pass its size as `in_features`.")
            self.hidden = nn.Sequential(linear(in_features, features), nn.ReLU())
        self.output = linear(features, features)
        nn.init.constant_(self.output.get_parameter("bias"), _FIRST)

    def forward(self, mean: Tensor, x: Tensor) -> Tensor:
        """Precision of each coordinate.

        Parameters
        ----------
        mean : Tensor, (*L, N, *F, d)
            Output of the layer; L is the member axis, if there is one.
        x : Tensor, (*L, N, ...)
            Input of the module; only a separate variance network looks at it.

        Returns
        -------
        Tensor that broadcasts to (*L, N, *F, d)
        """
        if self.output is None:
            raw = self.bias
        elif self.hidden is None:
            raw = self.output(mean)
        elif not isinstance(x, Tensor):
            raise TypeError(
                "a separate variance network looks at the input, which must be a tensor that comes first, as in "
                f"`module(x)`; got {'none' if x is None else f'a {type(x).__name__}'}."
            )
        else:
            raw = self.output(self.hidden(x.flatten(self._row_axes)))
            raw = raw.view(*raw.shape[:-1], *[1] * (mean.ndim - raw.ndim), self.features)
        # the upper limit is beyond half precision
        return softplus(at_least_float32(raw).clamp(*_LIMITS))

    @torch.no_grad()
    def initialize_(self, random: KeyedRandom) -> None:
        """Draw the weights of the members."""
        for module in self.modules():
            if isinstance(module, MemberLinear):
                module.initialize_(random)
        bias = self.bias if self.output is None else self.output.get_parameter("bias")
        bias.fill_(_FIRST)
