"""Rows mixed as Gaussian densities: the pool, the draw, the variance networks, and what the theory says of them."""

import math

import pytest
import torch
from mixup_cases import GAUSSIAN, FixedWeights, generator
from torch import nn
from torch.distributions import Normal

from probmix import GaussianEmbedding, NaturalHead, fuse_at, mixup_loss
from probmix.mixup import Mixup, preset
from probmix.pairs import draw

ROWS, FEATURES = 8, 3
PARTNERS = torch.tensor([1, 2, 3, 4, 5, 6, 7, 0])


def densities(dtype=torch.float64, members=None):
    shape = (ROWS, FEATURES) if members is None else (members, ROWS, FEATURES)
    mean = torch.randn(shape, generator=generator(), dtype=dtype)
    precision = torch.randn(shape, generator=generator(1), dtype=dtype).exp()
    share = torch.rand(shape[:-1], generator=generator(2), dtype=dtype)
    return mean, precision, torch.stack([1 - share, share], -1)


def test_the_pool_is_the_normalised_product_of_powers():
    mean, precision, weights = densities()
    z = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    log_density = Normal(mean[..., None], precision.rsqrt()[..., None]).log_prob(z)
    log_pool = weights[:, :1, None] * log_density + weights[:, 1:, None] * log_density[PARTNERS]
    pool = log_pool.exp() / torch.trapezoid(log_pool.exp(), z).unsqueeze(-1)
    pooled_mean = torch.trapezoid(pool * z, z)
    pooled_variance = torch.trapezoid(pool * (z - pooled_mean[..., None]) ** 2, z)
    torch.testing.assert_close(draw(mean, precision, PARTNERS, weights, None), pooled_mean)
    one = draw(mean, precision, PARTNERS, weights, lambda shape: torch.ones(shape, dtype=torch.float64))
    torch.testing.assert_close(one - pooled_mean, pooled_variance.sqrt())


def test_a_draw_of_a_row_that_is_not_mixed_is_from_its_own_density():
    mean, precision, _ = densities()
    noise = torch.randn(mean.shape, generator=generator(3), dtype=torch.float64)
    torch.testing.assert_close(draw(mean, precision, None, None, lambda _: noise), mean + noise / precision.sqrt())
    assert draw(mean, precision, None, None, None) is mean


@pytest.mark.parametrize("shift", [0, 1, 5, 7])
def test_the_quick_draw_of_shifted_members_is_the_plain_one(shift):
    mean, precision, weights = densities(members=2)
    rows = (torch.arange(ROWS) + shift) % ROWS
    noise = torch.randn(1, ROWS, FEATURES, generator=generator(3), dtype=torch.float64)
    gradient = torch.randn(mean.shape, generator=generator(4), dtype=torch.float64)
    results = []
    for partners in (shift, rows.expand(2, -1)):
        leaves = [mean.clone().requires_grad_(), precision.clone().requires_grad_()]
        drawn = draw(*leaves, partners, weights, lambda _: noise)
        results.append([drawn, *torch.autograd.grad(drawn, leaves, gradient)])
    for quick, plain in zip(*results, strict=True):
        torch.testing.assert_close(quick, plain)


@pytest.mark.parametrize("trained", [("mean", "precision"), ("mean",), ("precision", "noise")])
def test_gradients_of_the_quick_draw_are_those_of_finite_differences(trained):
    mean, precision, weights = densities(members=2)
    given = {"mean": mean[:, :4], "precision": precision[:, :4]}
    given["noise"] = torch.randn(1, 4, FEATURES, generator=generator(3), dtype=torch.float64)

    def drawn(*values):
        now = given | dict(zip(trained, values, strict=True))
        return draw(now["mean"], now["precision"], 3, weights[:, :4], lambda _: now["noise"])

    leaves = [given[name].clone().requires_grad_() for name in trained]
    assert torch.autograd.gradcheck(drawn, leaves)
    assert torch.autograd.gradgradcheck(drawn, leaves)


def test_second_derivatives_of_members_that_are_shifted_are_those_with_partners_by_number():
    """The precision follows the mean here, as it does behind a variance network."""
    mean, _, weights = densities(members=2)
    noise = torch.randn(1, ROWS, FEATURES, generator=generator(3), dtype=torch.float64)
    rows = ((torch.arange(ROWS) + 3) % ROWS).expand(2, -1)
    results = []
    for partners in (3, rows):
        leaf, identity = mean.clone().requires_grad_(), nn.Identity()
        shares = weights.clone().requires_grad_()
        for given in (weights, shares):
            with fuse_at(
                identity, "output", partners, given, embedding=lambda mean, _: mean.exp(), noise=lambda _: noise
            ):
                loss = identity(leaf).tanh().square().sum()
            (first,) = torch.autograd.grad(loss, leaf, create_graph=True)
            needed = (leaf,) if given is weights else (leaf, shares)
            results.append([first, *torch.autograd.grad(first.square().sum(), needed)])
    (quick, learned), (plain, expected) = results[:2], results[2:]
    for one, other in zip([*quick, *learned], [*plain, *expected], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_finite_where_one_density_is_a_point_and_the_other_nearly_flat(dtype):
    mean = torch.tensor([[0.0], [1e4]], dtype=dtype, requires_grad=True)
    precision = torch.tensor([[math.exp(14)], [math.exp(-14)]], dtype=dtype, requires_grad=True)
    weights = torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=dtype)
    drawn = draw(mean, precision, torch.tensor([1, 0]), weights, torch.ones)
    assert drawn.isfinite().all()
    assert drawn[0].item() == pytest.approx(1e4 * math.exp(-28) + math.sqrt(2) * math.exp(-7), rel=1e-3)
    for gradient in torch.autograd.grad(drawn.sum(), (mean, precision)):
        assert gradient.isfinite().all()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block = nn.Linear(2, FEATURES), nn.Linear(FEATURES, FEATURES)
        self.head = NaturalHead("gaussian", FEATURES)

    def forward(self, x):
        hidden = self.first(x).tanh()
        return self.head(hidden + self.block(hidden).tanh())


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def batch():
    return torch.randn(ROWS, 2, generator=generator()), torch.randn(ROWS, generator=generator(1))


@pytest.mark.parametrize("kind", ["gaussian", "gaussian-separate", "gaussian-constant"])
def test_variance_networks_are_what_they_are_called(kind):
    network, (x, _) = seeded(Residual), batch()
    embedding = seeded(lambda: GaussianEmbedding(FEATURES, kind, in_features=2))
    mean = network.first(x)
    precision = embedding(mean, x).expand_as(mean)
    # about the standard deviation with which it starts
    assert 0.1 < precision.rsqrt().mean() < 1
    moved = [embedding(mean + 1, x).expand_as(mean), embedding(mean, x + 1).expand_as(mean)]
    depends = [not torch.equal(one, precision) for one in moved]
    assert depends == {"gaussian": [True, False], "gaussian-separate": [False, True]}.get(kind, [False, False])
    assert embedding(1e30 * mean, 1e30 * x).isfinite().all()
    assert (embedding(1e30 * mean, 1e30 * x) > 0).all()


def test_variance_networks_of_members_are_those_of_each():
    joint = GaussianEmbedding(FEATURES, "gaussian-separate", 2, n_members=2)
    for number, parameter in enumerate(joint.parameters()):
        nn.init.normal_(parameter, generator=generator(number))
    mean, x = torch.randn(2, ROWS, FEATURES, generator=generator()), torch.randn(2, ROWS, 2, generator=generator(1))
    for member in range(2):
        alone = GaussianEmbedding(FEATURES, "gaussian-separate", 2)
        for one, many in zip((alone.hidden[0], alone.output), (joint.hidden[0], joint.output), strict=True):
            one.weight.data, one.bias.data = many.weight[member].T, many.bias[member, 0]
        torch.testing.assert_close(joint(mean, x)[member], alone(mean[member], x[member]))


def test_variance_networks_of_sequences_have_a_variance_for_every_row_or_step():
    mean, x = torch.zeros(ROWS, 5, FEATURES), torch.zeros(ROWS, 5, 2)
    assert GaussianEmbedding(FEATURES)(mean, x).shape == mean.shape
    assert GaussianEmbedding(FEATURES, "gaussian-separate", 10)(mean, x).shape == (ROWS, 1, FEATURES)


def test_unknown_kinds_and_missing_sizes_are_errors():
    with pytest.raises(ValueError, match=r"^unknown variance network 'gausian'; did you mean 'gaussian'"):
        GaussianEmbedding(3, "gausian")
    with pytest.raises(ValueError, match=r"^a separate variance network looks at the input: pass its size as `in_"):
        GaussianEmbedding(3, "gaussian-separate")


def loss_and_gradients(mixup, embedding=None, network=None, seed=5):
    network, (x, y) = network or seeded(Residual), batch()
    loss = mixup_loss(
        network, "gaussian", x, y, mixup, embedding=embedding, partners=PARTNERS, generator=generator(seed)
    )
    return loss, torch.autograd.grad(loss, list(network.parameters()))


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(one[0], other[0], **tolerance)
    for a, b in zip(one[1], other[1], strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("label_pool", ["log-linear", "linear", "average", "calibrated"])
def test_theorem_4_7_constant_variance_with_means_propagated_is_manifold_mixup(label_pool):
    for layer in ("first", "block"):
        point = Mixup(at=layer, label_pool=label_pool)
        gaussian = Mixup(at=layer, label_pool=label_pool, embedding="gaussian-constant", draws=0)
        constant = GaussianEmbedding(FEATURES, "gaussian-constant")
        nn.init.normal_(constant.bias, generator=generator())
        assert_same(loss_and_gradients(point), loss_and_gradients(gaussian, constant), rtol=1e-5, atol=1e-6)


def test_means_of_unequal_variances_are_not_plain_means():
    gaussian = Mixup(at="first", embedding="gaussian", draws=0)
    plain, _ = loss_and_gradients(Mixup(at="first"))
    pooled, _ = loss_and_gradients(gaussian, seeded(lambda: GaussianEmbedding(FEATURES)))
    assert abs(plain - pooled) > 1e-4


def test_a_draw_in_the_loss_is_the_one_made_by_hand():
    network, embedding, (x, y) = seeded(Residual), seeded(lambda: GaussianEmbedding(FEATURES)), batch()
    mixup = preset("m-probmix", at="first", weights=FixedWeights(0.3))
    loss = mixup_loss(network, "gaussian", x, y, mixup, embedding=embedding, partners=PARTNERS, generator=generator(7))
    noise = torch.randn(ROWS, FEATURES, generator=generator(7))
    mean = network.first(x)
    precision = embedding(mean, x)
    pooled = 0.3 * precision + 0.7 * precision[PARTNERS]
    z = (0.3 * precision * mean + 0.7 * (precision * mean)[PARTNERS]) / pooled + noise / pooled.sqrt()
    hidden = z.tanh()
    eta = network.head(hidden + network.block(hidden).tanh())
    expected = GAUSSIAN.expected_nll(eta, GAUSSIAN.point_label(0.3 * y + 0.7 * y[PARTNERS])).mean()
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, list(embedding.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("criterion", ["expected-log", "log-expected"])
@pytest.mark.parametrize("pool", ["log-linear", "linear"])
def test_several_draws_are_averaged_as_the_criterion_says(criterion, pool):
    network, embedding, (x, y) = seeded(Residual), seeded(lambda: GaussianEmbedding(FEATURES)), batch()
    mixup = preset("m-probmix", at="first", draws=4, criterion=criterion, pool=pool, weights=FixedWeights(0.3))
    calls = []
    handle = network.register_forward_hook(lambda *_: calls.append(1))
    loss = mixup_loss(network, "gaussian", x, y, mixup, embedding=embedding, partners=PARTNERS, generator=generator(7))
    handle.remove()
    assert len(calls) == 1
    noise = torch.randn(4, ROWS, FEATURES, generator=generator(7))
    label, log_likelihood = 0.3 * y + 0.7 * y[PARTNERS], []
    for one in noise:
        if pool == "linear":
            with fuse_at(network, "first", None, None, embedding=embedding, noise=lambda _, one=one: one):
                eta = network(x)
            both = torch.stack([GAUSSIAN.log_prob(eta, label), GAUSSIAN.log_prob(eta[PARTNERS], label)])
            log_likelihood.append((torch.tensor([[0.3], [0.7]]).log() + both).logsumexp(0))
        else:
            weights = torch.tensor([0.3, 0.7]).expand(ROWS, 2)
            with fuse_at(network, "first", PARTNERS, weights, embedding=embedding, noise=lambda _, one=one: one):
                log_likelihood.append(GAUSSIAN.log_prob(network(x), label))
    rows = torch.stack(log_likelihood)
    rows = rows.mean(0) if criterion == "expected-log" else rows.exp().mean(0).log()
    torch.testing.assert_close(loss, -rows.mean())


def test_criteria_agree_for_one_draw_and_are_ordered_for_several():
    embedding = seeded(lambda: GaussianEmbedding(FEATURES))
    losses = {
        (draws, criterion): loss_and_gradients(
            preset("m-probmix", at="first", draws=draws, criterion=criterion), embedding
        )[0]
        for draws in (1, 8)
        for criterion in ("expected-log", "log-expected")
    }
    assert losses[1, "expected-log"] == losses[1, "log-expected"]
    assert losses[8, "log-expected"] < losses[8, "expected-log"]


def test_points_do_not_look_at_a_variance_network():
    assert_same(loss_and_gradients("probmix"), loss_and_gradients("probmix", GaussianEmbedding(FEATURES)))


def test_densities_need_a_variance_network():
    x, y = batch()
    with pytest.raises(ValueError, match=r"^rows that are mixed as densities, embedding='gaussian', need a variance"):
        mixup_loss(seeded(Residual), "gaussian", x, y, preset("m-probmix", at="first"))
    with pytest.raises(
        ValueError, match=r"^rows are mixed at the embedding, which is a layer only for the networks of an"
    ):
        mixup_loss(seeded(Residual), "gaussian", x, y, "m-probmix", embedding=GaussianEmbedding(FEATURES))
    message = r"^`partners` and `weights` come together, and only an `embedding` can do"
    with pytest.raises(ValueError, match=message), fuse_at(seeded(Residual), "first", None, None):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at": "input"}, r"^as densities rows are mixed at one layer, by its name; got at='input' with"),
        ({"at": ("first", "block")}, r"^as densities rows are mixed at one layer"),
        ({"at": None}, r"^as densities rows are mixed at one layer"),
        ({"embedding": "gauss"}, r"^unknown embedding 'gauss'; did you mean 'gaussian'"),
        ({"pool": "log"}, r"^unknown pool 'log'; known are 'linear', 'log-linear'\.$"),
        ({"criterion": "log"}, r"^unknown criterion 'log'; known are 'expected-log', 'log-expected', 'quadratic'\.$"),
        ({"draws": -1}, r"^`draws` must be a non-negative integer; got -1\.$"),
        ({"draws": 1.5}, r"^`draws` must be a non-negative integer; got 1\.5\.$"),
        ({"pool": "linear", "label_pool": "calibrated"}, r"^calibrated labels belong to log-linear pools;"),
    ],
)
def test_mixups_that_mean_nothing_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        preset("m-probmix", **changes)
