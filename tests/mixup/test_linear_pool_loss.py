"""The linear pool in the loss: the likelihood of the mixture, wherever rows are mixed."""

from dataclasses import replace

import pytest
import torch
from families_table import draws, ordinary_params, over_families
from mixup_cases import GAUSSIAN, FixedWeights, generator
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily

from probmix import DensityRegressor, mixup_loss
from probmix.families import Gaussian, Histogram
from probmix.mixup import BetaWeights, Mixup, preset

ROWS = 6
PARTNERS = torch.tensor([1, 2, 3, 4, 5, 0])
SHARE = 0.3


class Table(nn.Module):
    """Rows are their natural parameters."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x):
        return self.layer(x)


def mixture(family, eta, components):
    both = torch.stack([eta, eta[PARTNERS]], 1)
    distribution = family.distribution(both)
    if components is not None:
        distribution = Independent(distribution, 1)
    mixing = Categorical(torch.tensor([SHARE, 1 - SHARE], dtype=eta.dtype).expand(ROWS, 2))
    return MixtureSameFamily(mixing, distribution)


@pytest.mark.parametrize("at", ["input", "layer", "output"])
@pytest.mark.parametrize("targets", [None, 3])
@over_families
def test_the_loss_is_the_likelihood_of_the_mixture_wherever_rows_are_mixed(family, targets, at):
    """With the labels of either point, each as often as it weighs: exact for every family."""
    if isinstance(family, Histogram):
        # a label that trains is spread over bins
        family = replace(family, smoothing=0.0)
    eta = ordinary_params(family, *((ROWS,) if targets is None else (ROWS, targets)))
    y = draws(family, eta)
    mixup = Mixup(at=at, pool="linear", label_pool="linear", weights=FixedWeights(SHARE))
    loss = mixup_loss(Table(), family, eta, y, mixup, partners=PARTNERS)
    pool = mixture(family, eta, targets)
    expected = SHARE * pool.log_prob(y) + (1 - SHARE) * pool.log_prob(y[PARTNERS])
    torch.testing.assert_close(loss, -expected.mean())


@pytest.mark.parametrize("label_pool", ["log-linear", "average"])
def test_a_label_that_is_a_point_has_its_likelihood(label_pool):
    eta = ordinary_params(GAUSSIAN, ROWS)
    y = draws(GAUSSIAN, eta)
    mixup = Mixup(pool="linear", label_pool=label_pool, weights=FixedWeights(SHARE))
    loss = mixup_loss(Table(), GAUSSIAN, eta, y, mixup, partners=PARTNERS)
    expected = mixture(GAUSSIAN, eta, None).log_prob(SHARE * y + (1 - SHARE) * y[PARTNERS])
    torch.testing.assert_close(loss, -expected.mean())


def test_a_latent_label_is_bounded_from_above_and_tends_to_the_point():
    eta = ordinary_params(GAUSSIAN, ROWS)
    y = draws(GAUSSIAN, eta)
    pool = mixture(GAUSSIAN, eta, None)
    centre = SHARE * y + (1 - SHARE) * y[PARTNERS]
    for spread in (1e-12, 0.01, 0.3):
        mixup = Mixup(pool="linear", weights=FixedWeights(SHARE), label_spread=spread)
        loss = mixup_loss(Table(), GAUSSIAN, eta, y, mixup, partners=PARTNERS)
        latent = centre + spread**0.5 * torch.randn(200_000, ROWS, generator=generator(), dtype=eta.dtype)
        expected = -pool.log_prob(latent).mean()
        assert loss >= expected - 1e-3
        assert spread > 0.1 or loss == pytest.approx(expected.item(), abs=0.02)


def test_gradients_are_those_of_the_mixture_also_for_weights_of_zero():
    eta = ordinary_params(GAUSSIAN, ROWS).requires_grad_()
    y = draws(GAUSSIAN, eta.detach())
    for share in (0.0, SHARE, 1.0):
        mixup = Mixup(pool="linear", label_pool="average", weights=FixedWeights(share))
        loss = mixup_loss(Table(), GAUSSIAN, eta, y, mixup, partners=PARTNERS)
        mixing = Categorical(torch.tensor([share, 1 - share], dtype=eta.dtype).expand(ROWS, 2), validate_args=False)
        pool = MixtureSameFamily(mixing, GAUSSIAN.distribution(torch.stack([eta, eta[PARTNERS]], 1)))
        expected = -pool.log_prob(share * y + (1 - share) * y[PARTNERS]).mean()
        gradients = [torch.autograd.grad(one, eta)[0] for one in (loss, expected)]
        assert gradients[0].isfinite().all()
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("mixup", ["probmix", "m-probmix", "local-m-probmix"])
def test_estimators_train_linear_pools(mixup):
    x = torch.linspace(-1, 1, 120, dtype=torch.float64).unsqueeze(-1)
    y = 3 * x[:, 0] + 0.1 * torch.randn(120, generator=generator(), dtype=torch.float64)
    model = DensityRegressor(Gaussian(), preset(mixup, pool="linear"), max_epochs=60, random_state=0, preset="plain")
    model.fit(x.numpy(), y.numpy())
    assert model.score(x.numpy(), y.numpy()) > -torch.std(y).log().item() - 1.42 + 0.5


# the table of the guide, docs/guide/mixing.md: slope and variance that fit y = 2 x + 1 with noise of variance 0.49 best
BEST = {
    ("output", "log-linear", "log-linear"): ((2, 0.42), (2, 0.327)),
    ("input", "log-linear", "average"): ((2, 0.42), (2, 0.327)),
    ("output", "log-linear", "linear"): ((2, 1.061), (2, 1.823)),
    ("input", "log-linear", "linear"): ((2, 1.061), (2, 1.823)),
    ("output", "log-linear", "calibrated"): ((2, 0.49), (2, 0.49)),
    ("input", "log-linear", "calibrated"): ((2, 0.49), (2, 0.49)),
    ("output", "linear", "average"): ((1.79, 0.573), (1.453, 0.617)),
    ("output", "linear", "linear"): ((2, 0.49), (2, 0.49)),
}


@pytest.mark.parametrize("alpha", [0.2, 1.0])
@pytest.mark.parametrize(("at", "pool", "label_pool"), BEST, ids=str)
def test_what_labels_do_to_a_line_and_its_noise(at, pool, label_pool, alpha):
    """The mean gradient of the loss is zero there, and at the truth only where that is the best."""
    x, noise = torch.randn(2, 100_000, generator=generator(4), dtype=torch.float64)
    y, mixup = 2 * x + 1 + 0.7 * noise, Mixup(at=at, pool=pool, label_pool=label_pool, weights=BetaWeights(alpha))

    def gradient(slope, variance):
        line = torch.tensor([slope, 1.0, variance], dtype=torch.float64).log().requires_grad_()

        def network(x):
            slope, intercept, variance = line.exp()
            mean = slope * x[:, 0] + intercept
            return torch.stack([mean / variance, (-0.5 / variance).expand_as(mean)], -1)

        loss = mixup_loss(network, GAUSSIAN, x.unsqueeze(-1), y, mixup, generator=generator(5))
        return torch.autograd.grad(loss, line)[0].abs().max().item()

    slope, variance = BEST[at, pool, label_pool][alpha == 1]
    assert gradient(slope, variance) < 0.03
    assert (gradient(2.0, 0.49) > 0.06) == ((slope, variance) != (2, 0.49))
