"""The layers of a network of the user's own, by the names that they have there."""

import numpy as np
import pytest
import torch
from own_zoo import FAST, Named, cases, fitted, flat_mlp, rows
from torch import nn

from probmix import DensityRegressor, Mixup
from probmix.mixup import preset

pytestmark = pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Wrapped(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("method", ["manifold-mixup", "m-probmix"])
def test_the_embedding_is_the_networks_output(method):
    X, _ = rows((3,))
    module = flat_mlp((3,))
    by_default = fitted(module, mixup=method)
    assert np.array_equal(fitted(module, mixup=preset(method, at="embedding")).predict(X), by_default.predict(X))
    explicit = fitted(Wrapped(module), mixup=preset(method, at="body"))
    np.testing.assert_allclose(explicit.predict(X), by_default.predict(X), rtol=1e-4, atol=1e-5)
    inside = fitted(module, mixup=preset(method, at="encoder.0"))
    assert not np.allclose(inside.validation_curve_, by_default.validation_curve_, rtol=1e-4)


@pytest.mark.parametrize("method", ["manifold-mixup", "m-probmix"])
@pytest.mark.parametrize("wrap", [False, True])
def test_unless_a_layer_has_that_name(method, wrap):
    X, _ = rows((3,))
    named, other = Named("embedding"), Named("hidden")
    other.load_state_dict({key.replace("embedding", "hidden"): value for key, value in named.state_dict().items()})
    if wrap:  # only a name as a whole counts
        named, other = Wrapped(named), Wrapped(other)
    own, same = fitted(named, mixup=method), fitted(other, mixup=preset(method, at="body" if wrap else "hidden"))
    np.testing.assert_allclose(own.predict(X), same.predict(X), rtol=1e-4, atol=1e-5)


def test_several_places_and_elements():
    X, y = rows((6, 3))
    places = Mixup(at=("input", "rnn[0]", "embedding", "output"))
    model = fitted(cases()["lstm"].network, (6, 3), mixup=places, n_members=2)
    assert np.isfinite(model.score(X, y))
    density = fitted(cases()["gru"].network, (6, 3), mixup=preset("m-probmix", at="rnn[0]"))
    assert density.network_.feature_shape == (6, 5)
    assert density.predict_natural_params(X).shape == (5, len(X), 2)


def test_a_layer_may_have_any_name():
    for name in ("input_", "network", "head", "a-b", "ü"):
        X, y = rows((3,))
        model = DensityRegressor(network=Named(name), mixup=preset("m-probmix", at=name), **FAST, preset="plain").fit(
            X, y
        )
        assert model.network_.feature_shape == (6,)
