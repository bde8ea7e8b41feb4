"""Linearity by layer against its definition."""

import numpy as np
import pytest
import torch
from theory_cases import rows, tanh_network
from torch import nn

from probmix import DensityRegressor
from probmix.mixup import BetaWeights
from probmix.theory import linearity


def test_a_square_has_a_closed_form():
    class Square(nn.Module):
        def forward(self, x):
            return x.square()

    # of two points -1 and 1: h is 1 at both, mixed points have (2 lambda - 1)^2; the layer does not vary at all
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert linearity(Square(), x).values.tolist() == [np.inf]
    # of 0 and 2: h is 0 or 4; for lambda of the second point of a mixed pair the deviation is 4 lambda (1 - lambda)
    x = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    found = linearity(Square(), x, n_groups=200_000)["output"]
    deviation = 0.5 * 16 * (1 / 30)
    spread = 0.5 * 4 + 0.5 * 16 * (1 / 12)
    assert found == pytest.approx(deviation / spread, rel=0.02)


def test_linear_layers_are_linear_and_scale_does_not_matter():
    network, x = tanh_network(3, 2), rows(40, 3)
    found = linearity(network, x, BetaWeights(0.5))
    assert found.layers == ("0", "1", "2", "output")
    assert found["0"] < 1e-25
    assert found["1"] > 1e-3
    assert found["2"] == found["output"]
    assert linearity(network, x, layers=["1"]).layers == ("1",)
    scaled = nn.Sequential(network, nn.Linear(2, 2, bias=False).double())
    with torch.no_grad():
        scaled[1].weight.copy_(1e3 * torch.eye(2))
    assert linearity(scaled, x, BetaWeights(0.5))["output"] == pytest.approx(found["output"], rel=1e-9)


def test_groups_of_more_rows_are_further_off():
    class Dirichlet:
        def sample(self, shape, uniform, order=2):
            gammas = -uniform((*shape, order)).log()
            return gammas / gammas.sum(-1, keepdim=True)

    x, network = rows(40, 3), tanh_network(3, 2, scale=3.0)
    pairs, groups = (linearity(network, x, Dirichlet(), order=k, n_groups=4000) for k in (2, 4))
    assert groups["output"] > 1.2 * pairs["output"]


def test_estimators_by_the_places_of_a_mixup():
    x = np.random.default_rng(0).normal(size=(60, 3))
    settings = {"max_epochs": 3, "random_state": 0, "hidden_layer_sizes": (8, 6), "n_members": 2}
    model = DensityRegressor(**settings, preset="plain").fit(x, x[:, 0])
    before = {name: value.clone() for name, value in model.network_.state_dict().items()}
    found = linearity(model, x, member=1)
    assert found.layers == ("hidden.0.0", "hidden.0.1", "hidden.1.0", "hidden.1.1", "output")
    assert found["hidden.0.0"] < 1e-12
    assert linearity(model, x, member=1, layers=["embedding"]).values == found["hidden.0.1"]
    assert linearity(model, x, member=0)["hidden.0.1"] != found["hidden.0.1"]
    for name, value in model.network_.state_dict().items():
        assert torch.equal(value, before[name])
    own = DensityRegressor(network=nn.Sequential(nn.Linear(3, 4), nn.Tanh()), **settings, preset="plain").fit(
        x, x[:, 0]
    )
    found = linearity(own, x)
    assert found.layers == ("0", "1", "output")
    assert found["0"] < 1e-10 < found["1"]
    assert linearity(own, x, layers=["embedding"]).values == found["1"]


def test_the_module_of_the_user_is_left_alone():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    found = linearity(network, rows(20, 3).float())
    assert torch.equal(torch.get_rng_state(), generator)
    assert network.training
    assert found["output"] < 1e-10
    assert not network[0]._forward_hooks
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])


def test_errors():
    with pytest.raises(ValueError, match=r"^unknown layer 'outputs'; did you mean 'output'\?$"):
        linearity(nn.Identity(), rows(4, 1), layers=["outputs"])
    with pytest.raises(
        TypeError, match=r"^`model` must be a fitted estimator or an nn\.Module, which has layers; got "
    ):
        linearity(torch.tanh, rows(4, 1))
    with pytest.raises(ValueError, match=r"^`n_groups` must be an integer of at least 1; got 0\.$"):
        linearity(nn.Identity(), rows(4, 1), n_groups=0)


def test_plot():
    from matplotlib.figure import Figure

    found = linearity(tanh_network(3, 2), rows(20, 3))
    ax = found.plot(Figure().subplots(), label="tanh")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.values)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(found.layers)
