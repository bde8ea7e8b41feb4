"""Several draws of an embedding, where the rows of a batch have their partners under them."""

import numpy as np
import pytest
import torch
from mixup_cases import FixedWeights, generator
from torch import nn

from probmix import DensityRegressor, GaussianEmbedding, NaturalHead, families, fuse_at, mixup, mixup_loss
from probmix.mixup import Mixup

ROWS, OWN, DRAWS, FEATURES = 9, 4, 3, 5
POISSON = families.get("poisson")


def network_and_embedding():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(2, FEATURES), nn.Tanh(), NaturalHead("poisson", FEATURES))
        return layers.double(), GaussianEmbedding(FEATURES).double()


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("criterion", ["expected-log", "log-expected"])
@pytest.mark.parametrize("pool", ["log-linear", "linear"])
def test_every_draw_has_the_rows_of_the_batch_and_their_partners(pool, criterion, order):
    """Draw by draw and row by row: counts with exposures and sample weights, in pairs and in groups of three."""
    network, embedding = network_and_embedding()
    x, y = torch.randn(ROWS, 2, generator=generator(), dtype=torch.float64), torch.arange(ROWS).double()
    exposure, weight = (torch.rand(ROWS, generator=generator(seed), dtype=torch.float64) + 0.5 for seed in (1, 2))
    partners = torch.tensor([[4, 1], [8, 5], [0, 6], [7, 4]])[:, : order - 1]
    groups = torch.cat([torch.arange(OWN).unsqueeze(1), partners], 1)
    shares = FixedWeights(0.3).sample((OWN,), None, order)
    loss = mixup_loss(
        network, "poisson", x, y, Mixup("0", FixedWeights(0.3), embedding="gaussian", pool=pool, draws=DRAWS,
                                        criterion=criterion, order=order),
        embedding=embedding, partners=partners, sample_weight=weight, exposure=exposure, generator=generator(3),
    )  # fmt: skip
    label, nll = POISSON.pool_labels(y[groups], shares), []
    rest = ROWS - OWN if pool == "linear" else 0  # a mixture is drawn from the densities of all rows
    noise = torch.randn(DRAWS * (OWN + rest), FEATURES, generator=generator(3)).double()
    own, others = noise[: DRAWS * OWN].split(OWN), noise[DRAWS * OWN :].split(rest) if rest else [noise[:0]] * DRAWS
    for one in map(torch.cat, zip(own, others, strict=True)):
        mixing = (None, None) if pool == "linear" else (partners, shares)
        with fuse_at(network, "0", *mixing, embedding=embedding, noise=lambda _, one=one: one):
            eta = network(x)
        if pool == "linear":
            eta = (eta + exposure.log().unsqueeze(1))[groups]
            each = torch.stack([POISSON.expected_nll(eta[:, k], label) for k in range(order)], 1)
            nll.append(-torch.logsumexp(shares.log() - each, 1))
        else:
            nll.append(POISSON.expected_nll(eta + (shares * exposure[groups]).sum(1, keepdim=True).log(), label))
    rows = torch.stack(nll)
    rows = rows.mean(0) if criterion == "expected-log" else -(-rows).exp().mean(0).log()
    weights = weight[groups].prod(1)
    torch.testing.assert_close(loss, (weights * rows).sum() / weights.sum())


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_a_row_that_has_all_weight_is_alone_in_every_draw(draws):
    network, _ = network_and_embedding()
    x, y = torch.randn(ROWS, 2, generator=generator(), dtype=torch.float64), torch.arange(ROWS).double()
    mixing = Mixup("0", FixedWeights(1.0), embedding="gaussian", draws=draws)
    loss = mixup_loss(
        network, "poisson", x, y, mixing, partners=torch.arange(OWN, 2 * OWN), generator=generator(),
        embedding=lambda mean, _: torch.full_like(mean, 1e24),
    )  # fmt: skip
    torch.testing.assert_close(loss, mixup_loss(network, "poisson", x[:OWN], y[:OWN], "erm"))


def test_partners_without_weight_do_not_matter_to_a_fit():
    """Neighbours of all rows stand under a batch, those of the batch in it: without weight neither trains."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    curves = []
    for partners in (mixup.NearestNeighbours(2), mixup.BatchNeighbours(k=2)):
        mixing = Mixup("embedding", mixup.FixedWeights(1.0), partners, embedding="gaussian-constant", draws=2)
        model = DensityRegressor(
            mixup=mixing, max_epochs=8, batch_size=10, learning_rate=0.05, random_state=0, hidden_layer_sizes=(8,),
            n_draws=2, preset="plain",
        )  # fmt: skip
        curves.append(model.fit(X, 3 * X[:, 0] + X[:, 1]).validation_curve_)
    np.testing.assert_allclose(*curves, rtol=1e-3)
