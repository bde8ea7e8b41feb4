"""Taylor terms of the mixup risk around the rows against full derivatives, and the adversarial bound."""

import numpy as np
import pytest
import torch
from theory_cases import rows, tanh_network, targets
from torch import nn
from torch.func import jacrev

from probmix import families
from probmix.mixup import BetaWeights
from probmix.theory import adversarial_terms, kept_label_risk, mixup_risk, quadratic_expansion


@pytest.mark.parametrize("family", [families.Bernoulli(), families.Poisson(), families.Categorical(3)], ids=repr)
def test_terms_are_those_of_full_derivatives(family):
    x, y, alpha = rows(8, 3), targets(family, 8), 0.6
    network = tanh_network(3, family.num_params)
    found = adversarial_terms(network, x, y, BetaWeights(alpha), family=family)
    # moments of 1 - lambda, which is Beta(a, a + 1)
    first = alpha / (2 * alpha + 1)
    second = first * (alpha + 1) / (2 * alpha + 2)
    t = family.sufficient_statistics(y)

    def one(x):
        return network(x.unsqueeze(0))[0]

    for i in range(8):
        u, j, h = one(x[i]).detach(), jacrev(one)(x[i]).detach(), jacrev(jacrev(one))(x[i]).detach()
        gradient, fisher = jacrev(family.log_normalizer)(u) - t[i], jacrev(jacrev(family.log_normalizer))(u)
        to = x - x[i]
        sigma = to.T @ to / 8
        r1 = first * gradient @ j @ to.mean(0)
        r2 = 0.5 * second * (sigma * (j.T @ fisher @ j)).sum()
        r3 = 0.5 * second * (sigma * torch.einsum("k,kab->ab", gradient, h)).sum()
        base = family.log_normalizer(u) - t[i] @ u - family.log_base_measure(y[i])
        terms = found.base[i], found.r1[i], found.r2[i], found.r3[i]
        np.testing.assert_allclose(terms, [base, r1, r2, r3], rtol=1e-9, atol=1e-12)
    assert found.risk == pytest.approx(found.rows.mean())
    assert (found.radius is None) == (family.num_params > 1)


def test_taylor_terms_are_right_where_mixing_is_weak():
    # 1 - lambda is alpha / (2 alpha + 1) on average: cubic terms vanish quicker than the others for close rows
    x, family = rows(10, 2), families.Poisson()
    y, network, errors = targets(family, 10), tanh_network(2, 1), []
    for scale in (0.04, 0.02):
        near = scale * x
        exact = kept_label_risk(network, near, y, family=family)
        errors.append(abs(adversarial_terms(network, near, y, family=family).risk - exact))
    assert errors[1] < errors[0] / 7


def logistic(norm):
    """A logistic model with weights of that length, and the sure labels of centred rows."""
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x - x.mean(0)
    network = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.6, 0.8]]) * norm)
        y = (network(x)[:, 0] > 0).double()
    return network, x, y


def test_mixup_of_a_logistic_model_bounds_its_adversarial_loss():
    network, x, y = logistic(3.0)
    found = adversarial_terms(network, x, y, family="bernoulli")
    assert found.is_bounded.all()
    mixup = found.base + found.r1 + found.r2
    assert np.all(mixup >= found.adversarial)
    np.testing.assert_allclose(found.r3, 0, atol=1e-12)
    w, scores = network.weight.detach().numpy()[0], network(x).detach().numpy()[:, 0]
    np.testing.assert_allclose(found.radius, abs(scores) / np.linalg.norm(w) / 3, rtol=1e-9)
    # the attack itself: to second order its loss is ours
    wrong = np.where(y == 1, -1.0, 1.0)
    for scale in (1e-2, 1e-3):
        radius = scale * found.radius
        attacked = np.logaddexp(0, scores + wrong * radius * 3) - y.numpy() * (scores + wrong * radius * 3)
        p = 1 / (1 + np.exp(-scores))
        second = found.base + radius * abs(p - y.numpy()) * 3 + 0.5 * radius**2 * p * (1 - p) * 9
        np.testing.assert_allclose(attacked, second, atol=scale**3)


def test_rows_on_the_wrong_side_are_not_bounded():
    network, x, y = logistic(3.0)
    y[:50] = 1 - y[:50]
    found = adversarial_terms(network, x, y, family="bernoulli")
    assert not found.is_bounded[:50].any()
    assert found.is_bounded[50:].all()


def test_the_quadratic_expansion_is_much_closer():
    random = torch.Generator().manual_seed(1)
    network, x, _ = logistic(3.0)
    y = torch.bernoulli(torch.sigmoid(network(x)[:, 0]).detach(), generator=random)
    exact = mixup_risk(network, x, y, family="bernoulli").risk
    taylor = adversarial_terms(network, x, y, family="bernoulli").risk - exact
    moved = quadratic_expansion(network, x, y, family="bernoulli").risk - exact
    # -0.055 and -0.0046 for normal rows at large
    assert taylor == pytest.approx(-0.055, abs=0.005)
    assert moved == pytest.approx(-0.0046, abs=0.001)


def test_two_classes_are_one_logit():
    x, y = rows(12, 2), (rows(12, 1)[:, 0] > 0).double()
    two = tanh_network(2, 2)
    found = adversarial_terms(two, x, y, family=families.Categorical(2))
    one = adversarial_terms(lambda x: two(x).diff(dim=1), x, y, family="bernoulli")
    for name in ("base", "r1", "r2", "r3", "radius", "adversarial"):
        np.testing.assert_allclose(getattr(found, name), getattr(one, name), rtol=1e-9, atol=1e-13)


def test_squared_loss_is_refused():
    with pytest.raises(ValueError, match=r"^the label is kept only where the loss is linear in it, which squared loss"):
        adversarial_terms(tanh_network(2, 1), rows(5, 2), torch.zeros(5), family="squared")


def test_plot():
    from matplotlib.figure import Figure

    network, x, y = logistic(1.0)
    y[0] = 1 - y[0]
    found = adversarial_terms(network, x, y, family="bernoulli")
    ax = found.plot(Figure().subplots())
    assert [len(line.get_xdata()) for line in ax.lines[1:]] == [199, 1]
    several = adversarial_terms(tanh_network(2, 3), x, y, family=families.Categorical(3))
    assert several.plot(Figure().subplots()).get_xlabel() == "loss of the row"
