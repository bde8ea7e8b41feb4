"""The tools of the theory look into every built-in network."""

import numpy as np
import pytest
import torch
from parts_cases import SPECS

from probmix import DensityRegressor
from probmix.networks import MLP, Periodic, PiecewiseLinear
from probmix.networks.alone import LoneMember
from probmix.theory import adversarial_terms, linearity, quadratic_expansion

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 3))
Y = np.sin(X[:, 0]) + 0.3 * rng.normal(size=30)
NETWORKS = {
    **{name: SPECS[name] for name in ("mlp, dropout", "resnet", "shared")},
    "waves": MLP((6,), "silu", embedding=Periodic(4, 2)),
    "phases": MLP((6,), "silu", embedding=Periodic(4, 2, form="pbld")),
    "bins": MLP((6,), "tanh", embedding=PiecewiseLinear(4, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_tools_take_a_prediction_of_a_member(name):
    model = DensityRegressor(
        network=NETWORKS[name], mixup="erm", n_members=2, max_epochs=3, random_state=0, preset="plain"
    ).fit(X, Y)
    last = 2 * model.network_.n_predictions - 1
    lone = LoneMember(model.network_, last)
    z = lone.standardize(torch.tensor(X))
    torch.testing.assert_close(lone(z), model.network_(torch.tensor(X))[-1], rtol=1e-8, atol=1e-10)
    assert np.isfinite(linearity(model, X, member=last).values).all()
    expansion = quadratic_expansion(model, X, Y, member=last)
    terms = adversarial_terms(model, X, Y, member=last)
    values = [np.asarray(value) for result in (expansion, terms) for value in vars(result).values()]
    numbers = [value for value in values if value.dtype.kind == "f"]
    assert numbers
    assert all(np.isfinite(one).all() for one in numbers)
    with pytest.raises(ValueError, match=r"^`member` must be one of the 2 fitted members.*, from 0; got \d+\.$"):
        linearity(model, X, member=last + 1)


def test_the_error_tells_how_many_predictions_there_are():
    model = DensityRegressor(
        network=SPECS["shared"], mixup="erm", n_members=2, max_epochs=2, random_state=0, preset="plain"
    ).fit(X, Y)
    with pytest.raises(
        ValueError,
        match=r"^`member` must be one of the 2 fitted members, of 3 predictions each, from 0; got 6\.$",
    ):
        linearity(model, X, member=6)
