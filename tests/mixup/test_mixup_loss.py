"""The loss of rows that are mixed: the paper's numbers and theorems, partners, and one forward pass."""

import math

import pytest
import torch
from mixup_cases import GAUSSIAN, Counting, FixedWeights, generator, true_model
from torch import nn

from probmix import NaturalHead, families
from probmix.mixup import BetaWeights, Mixup, mixup_loss, preset


@pytest.mark.parametrize(("name", "expected"), [("mixup", 49.05), ("probmix", 3.59)])
def test_worked_example_of_the_paper(name, expected):
    x, y = torch.tensor([[5.0], [-5.0]], dtype=torch.float64), torch.tensor([130.0, -120.0], dtype=torch.float64)
    mixup = preset(name, weights=FixedWeights(0.8))
    loss = mixup_loss(true_model, "gaussian", x, y, mixup, partners=torch.tensor([1]))
    assert loss.item() == pytest.approx(expected, abs=0.005)


def linear_softmax(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 4).double()


class LinearHomoscedastic(nn.Module):
    """A Gaussian with linear mean and constant variance."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Linear(3, 1)
        self.log_variance = nn.Parameter(torch.tensor(-0.3))

    def forward(self, x):
        precision = torch.exp(-self.log_variance).expand(len(x))
        return torch.stack([self.mean(x).squeeze(-1) * precision, -0.5 * precision], -1)


@pytest.mark.parametrize("pool", ["linear", "average"])
def test_theorem_4_5_softmax_of_a_linear_model(pool):
    """ProbMix is vanilla mixup when the logits are linear in x."""
    with torch.random.fork_rng():
        model = linear_softmax()
    x = torch.randn(40, 3, generator=generator(), dtype=torch.float64)
    y = torch.randint(0, 4, (40,), generator=generator())
    family = families.get("categorical", num_classes=4)
    losses = [mixup_loss(model, family, x, y, preset(name, label_pool=pool), generator=generator()) for name in
              ("probmix", "mixup")]  # fmt: skip
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("pool", ["log-linear", "linear"])
def test_theorem_4_6_linear_homoscedastic_gaussian(pool):
    """ProbMix is vanilla mixup when the mean is linear in x and the variance constant."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LinearHomoscedastic().double()
    x = torch.randn(40, 3, generator=generator(), dtype=torch.float64)
    y = torch.randn(40, generator=generator(1), dtype=torch.float64)
    losses = [mixup_loss(model, "gaussian", x, y, preset(name, label_pool=pool), generator=generator()) for name in
              ("probmix", "mixup")]  # fmt: skip
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)


def test_erm_is_the_mean_negative_log_likelihood():
    x, y = torch.randn(20, 1, generator=generator()), torch.randn(20, generator=generator(1))
    expected = -torch.distributions.Normal(x[:, 0] ** 3, 0.5 * x[:, 0] ** 2 + 1).log_prob(y).mean()
    torch.testing.assert_close(mixup_loss(true_model, "gaussian", x, y, "erm"), expected)


def test_probmix_of_points_by_hand():
    """Poisson: the pooled rate is the geometric mean, the label the arithmetic mean."""
    rates, y = torch.tensor([2.0, 8.0]), torch.tensor([1.0, 4.0])
    mixup = preset("probmix", weights=FixedWeights(0.25))
    loss = mixup_loss(lambda x: rates.log().unsqueeze(-1), "poisson", torch.zeros(2, 1), y, mixup,
                      partners=torch.tensor([1, 0]))  # fmt: skip
    expected = 0.0
    for i, j in ((0, 1), (1, 0)):
        log_rate = 0.25 * math.log(rates[i]) + 0.75 * math.log(rates[j])
        label = 0.25 * y[i].item() + 0.75 * y[j].item()
        base = 0.25 * math.lgamma(y[i] + 1) + 0.75 * math.lgamma(y[j] + 1)
        expected += 0.5 * (math.exp(log_rate) - label * log_rate + base)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["erm", "mixup", "local-mixup", "probmix", "local-probmix"])
@pytest.mark.parametrize("pool", ["log-linear", "calibrated"])
def test_partners_within_the_batch_cost_one_forward_pass(name, pool):
    model = Counting()
    x, y = torch.randn(16, 2), torch.randn(16)
    mixup_loss(model, "gaussian", x, y, preset(name, label_pool=pool), generator=generator()).backward()
    assert model.rows == [16]


def test_partners_from_outside_the_batch_are_stacked_under_it():
    model = Counting()
    x, y = torch.randn(16, 2), torch.randn(16)
    mixup = preset("probmix", weights=FixedWeights(0.3))
    loss = mixup_loss(model, "gaussian", x, y, mixup, partners=torch.arange(8, 16))
    assert model.rows == [16]
    eta = 0.3 * model(x[:8]) + 0.7 * model(x[8:])
    label = GAUSSIAN.point_label(0.3 * y[:8] + 0.7 * y[8:])
    torch.testing.assert_close(loss, GAUSSIAN.expected_nll(eta, label).mean(), check_dtype=False)


@pytest.mark.parametrize("name", ["erm", "mixup", "probmix", "local-probmix"])
def test_same_generator_same_loss_and_the_global_generator_stays(name):
    x, y = torch.randn(16, 1), torch.randn(16)
    before = torch.get_rng_state()
    first, second = (mixup_loss(true_model, "gaussian", x, y, name, generator=generator(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("family", ["gaussian", "gamma", "poisson"])
@pytest.mark.parametrize("pool", ["log-linear", "linear", "average", "calibrated"])
@pytest.mark.parametrize("at", ["input", "output"])
def test_several_targets_add_up(family, pool, at):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = NaturalHead(family, 2, num_targets=3)
    x = torch.randn(10, 2, generator=generator())
    y = torch.poisson(torch.full((10, 3), 4.0), generator=generator()) + 1
    mixup = Mixup(at=at, label_pool=pool)
    joint = mixup_loss(head, family, x, y, mixup, generator=generator())
    parts = [mixup_loss(lambda v, t=t: head(v)[:, t], family, x, y[:, t], mixup, generator=generator())
             for t in range(3)]  # fmt: skip
    torch.testing.assert_close(joint, sum(parts), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("alpha", "pool", "expected"), [
    (0.2, "log-linear", 0.420), (0.2, "linear", 1.06), (0.2, "calibrated", 0.49),
    (1.0, "log-linear", 0.327), (1.0, "calibrated", 0.49),
])  # fmt: skip
@pytest.mark.parametrize("at", ["output", "input"])
def test_variance_bias_of_the_label_side(alpha, pool, expected, at):
    """Fit y = 2x + 1 + 0.7 eps: mixing labels shrinks or inflates the variance 0.49, the calibrated side does not."""
    n = 100_000
    x = torch.randn(n, 1, generator=generator(), dtype=torch.float64)
    y = 2 * x[:, 0] + 1 + 0.7 * torch.randn(n, generator=generator(1), dtype=torch.float64)
    parameters = torch.tensor([2.0, 1.0, math.log(expected)], dtype=torch.float64, requires_grad=True)

    def model(inputs):
        precision = torch.exp(-parameters[2]).expand(len(inputs))
        return torch.stack([(parameters[0] * inputs[:, 0] + parameters[1]) * precision, -0.5 * precision], -1)

    optimizer = torch.optim.Adam([parameters], lr=0.02)
    mixup, draws, path = Mixup(at=at, weights=BetaWeights(alpha), label_pool=pool), generator(2), []
    for step in range(40):
        optimizer.zero_grad()
        mixup_loss(model, "gaussian", x, y, mixup, generator=draws).backward()
        optimizer.step()
        if step >= 20:
            path.append(parameters.detach().clone())
    slope, intercept, log_variance = torch.stack(path).mean(0)
    assert slope.item() == pytest.approx(2, abs=0.01)
    assert intercept.item() == pytest.approx(1, abs=0.01)
    assert log_variance.exp().item() == pytest.approx(expected, rel=0.015)


def test_errors_come_before_any_work():
    model = Counting()
    x, y = torch.randn(4, 2), torch.randn(4)
    with pytest.raises(ValueError, match=r"^`y` must have as many rows as `x`, 4; got shape \(3,\)\.$"):
        mixup_loss(model, "gaussian", x, y[:3])
    with pytest.raises(ValueError, match=r"^`sample_weight` must have as many rows as `x`, 4; got shape \(2,\)\.$"):
        mixup_loss(model, "gaussian", x, y, sample_weight=torch.ones(2))
    with pytest.raises(ValueError, match=r"^`sample_weight` must be finite and not negative\.$"):
        mixup_loss(model, "gaussian", x, y, sample_weight=torch.tensor([1.0, 1.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match=r"^`sample_weight` must be finite and not negative\.$"):
        mixup_loss(model, "gaussian", x, y, sample_weight=torch.tensor([1.0, 1.0, 1.0, float("inf")]))
    with pytest.raises(
        ValueError, match=r"^`partners` must be int64 row numbers from 0 to 3, for at most 4 rows one each; got"
    ):
        mixup_loss(model, "gaussian", x, y, partners=torch.tensor([4]))
    with pytest.raises(ValueError, match=r"^unknown family 'gausian'; did you mean 'gaussian' or "):
        mixup_loss(model, "gausian", x, y)
    with pytest.raises(ValueError, match=r"^Gaussian targets must be finite; got nan at row 2\. Drop or impute"):
        mixup_loss(model, "gaussian", x, torch.tensor([0.0, 1.0, float("nan"), 2.0]))
    with pytest.raises(
        ValueError, match=r"^Poisson targets must be non-negative integers; got -1 at row 1\. Use counts"
    ):
        mixup_loss(model, "poisson", x, torch.tensor([0.0, -1.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^`partners` must be int64 row numbers"):
        mixup_loss(model, "gaussian", x, y, partners=torch.tensor([-1]))
    with pytest.raises(ValueError, match=r"^`sample_weight` must be a vector; got shape \(4, 1\)\.$"):
        mixup_loss(model, "gaussian", x, y, sample_weight=torch.ones(4, 1))
    with pytest.raises(TypeError, match=r"^the family 'categorical' cannot be made from \{\}: .*num_classes"):
        mixup_loss(model, "categorical", x, y)
    assert model.rows == []


@pytest.mark.parametrize("name", ["erm", "mixup", "probmix"])
def test_predictions_that_do_not_fit_the_targets_are_an_error(name):
    """Rows against a column would be broadcast to a square, and a mean taken over it."""
    x, y = torch.randn(4, 2), torch.randn(4)
    message = (
        r"^`module` must give natural parameters of the family 'gaussian' of shape \(4, {}2\): .*; got \(4, {}2\)\."
    )
    with pytest.raises(ValueError, match=message.format("1, ", "")):
        mixup_loss(NaturalHead("gaussian", 2), "gaussian", x, y.unsqueeze(1), name)
    with pytest.raises(ValueError, match=message.format("", "1, ")):
        mixup_loss(NaturalHead("gaussian", 2, num_targets=1), "gaussian", x, y, name)


def test_without_mixup_only_the_rows_that_would_be_mixed_count():
    x, y = torch.randn(6, 1), torch.randn(6)
    stacked = mixup_loss(true_model, "gaussian", x, y, "erm", partners=torch.arange(3, 6))
    torch.testing.assert_close(stacked, mixup_loss(true_model, "gaussian", x[:3], y[:3], "erm"))


def test_inputs_are_mixed_exactly_far_from_zero():
    x = 1.6e9 + torch.randn(50, 1, generator=generator(), dtype=torch.float64)
    seen = []

    def model(inputs):
        seen.append(inputs)
        return torch.stack([inputs[:, 0] - 1.6e9, torch.full((len(inputs),), -0.5, dtype=inputs.dtype)], -1)

    mixup = preset("mixup", alpha=1.0)
    mixup_loss(model, "gaussian", x, x[:, 0] - 1.6e9, mixup, partners=torch.arange(25, 50), generator=generator())
    mixup_loss(
        model, "gaussian", x - 1.6e9, x[:, 0] - 1.6e9, mixup, partners=torch.arange(25, 50), generator=generator()
    )
    torch.testing.assert_close(seen[0] - 1.6e9, seen[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("at", [None, "input", "0", "output"])
def test_a_network_in_half_precision_has_a_loss_in_float32_wherever_rows_are_mixed(at, kind):
    """That of its natural parameters in float32."""
    module, outputs = nn.Sequential(nn.Linear(2, 1)).to(kind), []

    def note(_, __, output):
        outputs.append(output)

    module.register_forward_hook(note)
    x, y = torch.randn(6, 2, generator=generator()).to(kind), torch.arange(6.0)
    partners = torch.arange(5, -1, -1)
    mixing = preset("erm") if at is None else Mixup(at, FixedWeights(0.25))
    loss = mixup_loss(module, "poisson", x, y, mixing, partners=partners)
    assert loss.dtype == torch.float32
    eta, poisson = outputs[0].float(), families.get("poisson")
    eta = 0.25 * eta + 0.75 * eta[partners] if at == "output" else eta
    shares = torch.tensor([1.0, 0.0] if at is None else [0.25, 0.75]).expand(6, 2)
    label = poisson.pool_labels(torch.stack([y, y[partners]], 1), shares)
    torch.testing.assert_close(loss, poisson.expected_nll(eta, label).mean())
