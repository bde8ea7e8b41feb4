"""The quadratic expansion against full Jacobians and Hessians, the paper's four terms, the exact risk; its bounds."""

import numpy as np
import pytest
import torch
from theory_cases import FAMILIES, rows, tanh_network, targets
from torch.func import jacrev

from probmix import families
from probmix.mixup import BetaWeights
from probmix.mixup.quadratic import Centring, quadratic_losses
from probmix.theory import mixup_risk, perturbed_erm, quadratic_expansion
from probmix.theory._quadrature import fold_nodes

SQUARED = "squared"


def statistics(family, y):
    """What mixup mixes on the side of the labels: (n, U), and log h."""
    if family == SQUARED:
        return y.reshape(len(y), -1), torch.zeros(len(y), dtype=y.dtype)
    return family.sufficient_statistics(y), family.log_base_measure(y)


def each(function):
    return lambda table: torch.stack([function(row) for row in table])


def brute_force(network, family, x, y, alpha):
    """All ingredients with full derivatives, from the normaliser alone."""
    t, base = statistics(family, y)
    moved = perturbed_erm(x, t, BetaWeights(alpha))
    x, t = torch.from_numpy(moved.x), torch.from_numpy(moved.y)
    base = base.mean() + moved.theta_bar * (base - base.mean())

    def one(x):
        return network(x.unsqueeze(0)).squeeze(0)

    def normalizer(u):
        return 0.5 * u.square().sum() if family == SQUARED else family.log_normalizer(u)

    u, jacobian, second = network(x), each(jacrev(one))(x), each(jacrev(jacrev(one)))(x)
    gradient = each(jacrev(normalizer))(u) - t
    curvature = (
        each(jacrev(jacrev(normalizer)))(u)
        if family != SQUARED
        else torch.eye(u.shape[1]).double().expand(len(u), -1, -1)
    )
    loss = each(normalizer)(u) - (t * u).sum(1) - base + (0.5 * t.square().sum(1) if family == SQUARED else 0)
    covariances = (torch.from_numpy(c()) for c in (moved.covariance_xx, moved.covariance_yx, moved.covariance_yy))
    return [one.detach() for one in (loss, u, jacobian, second, gradient, curvature, *covariances)]


@pytest.mark.parametrize("family", [SQUARED, *FAMILIES], ids=repr)
def test_it_is_that_of_full_jacobians_and_hessians(family):
    x = rows(12, 3)
    if family == SQUARED:
        network, y = tanh_network(3, 2), rows(12, 2, seed=5)
    else:
        network, y = tanh_network(3, family.num_raw, family), targets(family, 12)
    loss, _, j, second, gradient, h, sxx, syx, syy = brute_force(network, family, x, y, 0.7)
    found = quadratic_expansion(network, x, y, BetaWeights(0.7), family=family, split=True)
    expected = {
        "base": loss,
        "jacobian": 0.5 * torch.einsum("nab,nka,nkl,nlb->n", sxx, j, h, j),
        "cross": -torch.einsum("nka,nka->n", syx, j),
        "r2": 0.5 * torch.einsum("nab,nk,nkab->n", sxx, gradient, second),
        "r4": 0.5 * torch.einsum("nkk->n", syy) * (family == SQUARED),
        "gradient_norm": gradient.norm(dim=1),
        "curvature_norm": torch.einsum("nab,nkab->nk", sxx, second).norm(dim=1),
        "sensitivity": torch.linalg.eigvalsh(j @ sxx @ j.mT)[:, -1],
        "trace": h.diagonal(dim1=1, dim2=2).sum(1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-9, atol=1e-10, err_msg=name)
    # the paper's terms, completed to a square by pseudo-inverses
    inverse = torch.linalg.pinv(h, hermitian=True)
    star = inverse @ syx @ torch.linalg.pinv(sxx, hermitian=True)
    r1 = 0.5 * torch.einsum("nab,nka,nkl,nlb->n", sxx, j - star, h, j - star)
    r3 = -0.5 * torch.einsum("nab,nka,nkl,nlb->n", sxx, star, h, star)
    if family == SQUARED or len(torch.linalg.svdvals(h[0])) < 2 or float(torch.linalg.cond(h).max()) < 1e6:
        np.testing.assert_allclose(found.r1, r1, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.r3, r3, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.base + found.r1 + found.r3 + found.r2 + found.r4, found.rows, rtol=1e-12)
    assert found.risk == pytest.approx(found.rows.mean(), rel=1e-15)


def test_derivatives_are_those_of_differences():
    x, y = rows(8, 2), rows(8, 2, seed=3)
    network = tanh_network(2, 2)
    found = quadratic_expansion(network, x, y, BetaWeights(1.0), family=SQUARED)
    moved = perturbed_erm(x, y, BetaWeights(1.0))
    values, vectors = np.linalg.eigh(moved.covariance_xx())
    jacobian, second, step = 0.0, 0.0, 1e-4
    for k in range(2):
        v = torch.from_numpy(np.sqrt(values[:, k, None]) * vectors[:, :, k])
        at = [network(torch.from_numpy(moved.x) + s * step * v).detach().numpy() for s in (-1, 0, 1)]
        jacobian = jacobian + 0.5 * (((at[2] - at[0]) / (2 * step)) ** 2).sum(1)
        second = second + (at[2] - 2 * at[1] + at[0]) / step**2
    gradient = network(torch.from_numpy(moved.x)).detach().numpy() - moved.y
    np.testing.assert_allclose(found.jacobian, jacobian, rtol=1e-6)
    np.testing.assert_allclose(found.r2, 0.5 * (gradient * second).sum(1), rtol=1e-4, atol=1e-7)


def test_terms_of_a_singular_fisher_information_are_those_of_its_pseudo_inverse():
    family, x = families.Categorical(3), rows(30, 3)
    y = targets(family, 30)
    network = tanh_network(3, 3, scale=3.0)
    h = brute_force(network, family, x, y, 1.0)[5]
    assert float(torch.linalg.cond(h).min()) > 1e12
    found = quadratic_expansion(network, x, y, family=family, split=True)
    assert np.all(found.r1 >= -1e-12)
    assert np.all(found.r3 <= 1e-12)
    np.testing.assert_allclose(found.r1 + found.r3, found.r13, rtol=1e-10, atol=1e-12)
    assert quadratic_expansion(network, x, y, family=family).r1 is None


@pytest.mark.parametrize(("kind", "closeness"), [("squared", 0.03), ("classes", 2e-3)])
def test_it_is_close_to_the_exact_risk(kind, closeness):
    x = rows(60, 2)
    if kind == "squared":
        network, family, y = tanh_network(2, 1, scale=1.5), SQUARED, 2 * torch.sin(2 * x[:, 0]) + x[:, 1]
    else:
        network, family = tanh_network(2, 3), families.Categorical(3)
        y = targets(family, 60)
    exact = mixup_risk(network, x, y, family=family)
    found = quadratic_expansion(network, x, y, family=family)
    assert found.risk == pytest.approx(exact.risk, rel=closeness)
    # closer than without any of its terms, and row by row
    assert abs(found.risk - exact.risk) < 0.2 * abs(found.base.mean() - exact.risk)
    assert np.corrcoef(found.rows, exact.rows)[0, 1] > 0.99


def test_it_is_exact_for_linear_functions_and_squared_loss():
    x, y = rows(20, 3), rows(20, 2, seed=7)
    network = torch.nn.Linear(3, 2).double()
    for alpha in (0.2, 1.0, 10.0):
        found = quadratic_expansion(network, x, y, BetaWeights(alpha), family=SQUARED)
        exact = mixup_risk(network, x, y, BetaWeights(alpha), family=SQUARED)
        np.testing.assert_allclose(found.rows, exact.rows, rtol=1e-10)
        assert np.all(found.r2 == 0)


@pytest.mark.parametrize("family", [families.Categorical(2), families.Categorical(5), families.Bernoulli()], ids=repr)
def test_hardness_bounds_what_it_says(family):
    x = rows(300, 2)
    y = (x[:, 0] > 0.3).double()
    network = tanh_network(2, family.num_params, scale=4.0)
    found = quadratic_expansion(network, x, y, family=family)
    slack = 1e-12
    for by in ("trace", "entropy", "el2n"):
        assert np.all(found.jacobian <= found.jacobian_bound(by) + slack)
    assert np.all(np.abs(found.r2) <= found.r2_bound + slack)
    u = network(torch.from_numpy(perturbed_erm(x, y).x)).detach()
    p = family.mean_params(u)
    if family == families.Bernoulli():
        p = torch.cat([1 - p, p], 1)
        e = (p[:, 1] - y).abs().numpy()
        trace = (p[:, 0] * p[:, 1]).numpy()
        np.testing.assert_allclose(trace, found.trace_by_el2n, rtol=1e-9, atol=1e-14)
        assert np.all(trace <= found.entropy / 2 + slack)
    else:
        hot = torch.eye(p.shape[1]).double()[y.long()]
        e = (p - hot).norm(dim=1).numpy()
        trace = 1 - p.square().sum(1).numpy()
        own = (p * hot).sum(1).numpy()
        np.testing.assert_allclose(trace, 2 * (1 - own) - e**2, atol=1e-12)
        assert np.all(trace <= found.entropy + slack)
        assert np.all(trace <= 2 * e * np.sqrt(1 - 1 / p.shape[1]) - e**2 + slack)
    np.testing.assert_allclose(found.trace, trace, atol=1e-12)
    np.testing.assert_allclose(found.el2n, e, atol=1e-12)
    np.testing.assert_allclose(found.entropy, torch.distributions.Categorical(p).entropy(), atol=1e-9)
    assert np.all(found.trace <= found.trace_by_el2n + slack)


def test_the_bound_by_el2n_is_reached_where_the_wrong_classes_are_alike():
    y = torch.zeros(2)
    found = quadratic_expansion(
        lambda x: torch.stack([x[:, 0], 0 * x[:, 0], 0 * x[:, 0]], 1), [[1.0], [2.0]], y, family=families.Categorical(3)
    )
    np.testing.assert_allclose(found.trace, found.trace_by_el2n, rtol=1e-12)


def test_hard_rows_are_regularised_more():
    # a logistic model: rows far from the boundary have less and less of the penalty
    x = torch.tensor([[0.1], [1.0], [2.0], [4.0], [8.0]], dtype=torch.float64)
    x = torch.cat([-x.flip(0), x])
    found = quadratic_expansion(torch.nn.Identity(), x, (x[:, 0] > 0).double(), family="bernoulli")
    penalty = found.jacobian / found.sensitivity
    order = np.argsort(np.abs(x[:, 0].numpy()), kind="stable")
    for measure in (penalty, found.trace, found.entropy):
        assert np.all(np.diff(measure[order]) <= 1e-12)


def test_other_families_are_bounded_by_the_trace_only():
    family, x = families.Poisson(), rows(20, 2)
    found = quadratic_expansion(tanh_network(2, 1), x, targets(family, 20), family=family)
    assert np.all(found.jacobian <= found.jacobian_bound() + 1e-12)
    assert found.entropy is None
    with pytest.raises(ValueError, match=r"^only predicted classes bound the trace by 'el2n', for one target of the "):
        found.jacobian_bound("el2n")
    with pytest.raises(ValueError, match=r"^unknown hardness 'entropie'; did you mean 'entropy'\?$"):
        found.jacobian_bound("entropie")


def test_no_spread_no_terms():
    x, y = torch.ones(4, 2, dtype=torch.float64), torch.ones(4)
    found = quadratic_expansion(tanh_network(2, 1), x, y, family=SQUARED, split=True)
    for term in (found.r13, found.r2, found.r3, found.r4):
        assert not np.any(term)


def test_single_precision_and_images():
    x, y = rows(6, 12).float().view(6, 3, 2, 2), rows(6, 1).float()[:, 0]
    flat = tanh_network(12, 1)
    network = torch.nn.Sequential(torch.nn.Flatten(), flat)
    double = quadratic_expansion(network, x.double(), y, family=SQUARED)
    single = quadratic_expansion(network.float(), x, y, family=SQUARED)
    for name in ("base", "jacobian", "cross", "r2", "r4"):
        np.testing.assert_allclose(getattr(single, name), getattr(double, name), rtol=2e-4, atol=1e-5)


def test_plot():
    from matplotlib.figure import Figure

    found = quadratic_expansion(tanh_network(2, 3), rows(9, 2), torch.arange(9) % 3, family=families.Categorical(3))
    for by, label in (("trace", "trace of the Fisher information"), ("el2n", "EL2N score")):
        ax = found.plot(Figure().subplots(), by=by)
        assert ax.get_xlabel() == label
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), found.jacobian)
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.jacobian_bound(by))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("family", [families.Categorical(3), families.Gaussian(), families.Gamma()], ids=repr)
def test_the_loss_of_approximate_mixup_is_it_but_for_second_derivatives(family):
    x, y, alpha = rows(6, 2), targets(family, 6), 0.6
    network = tanh_network(2, family.num_raw, family)
    found = quadratic_expansion(network, x, y, BetaWeights(alpha), family=family)
    theta, probabilities = fold_nodes(BetaWeights(alpha), 24)
    centring, expected = Centring(float(probabilities @ theta)), 0.0
    for weight, probability in zip(theta.tolist(), probabilities.tolist(), strict=True):
        weights = torch.tensor([weight, 1 - weight], dtype=torch.float64).expand(6, 2)
        for j in range(6):
            partners = torch.full((6, 1), j)
            label = family.pool_labels(torch.stack([y, y[j].expand(6)], 1), weights, 0.0, "linear")
            losses = quadratic_losses(network, family, (x,), y, label, partners, weights, centring)
            expected = expected + probability / 6 * losses.detach()
    np.testing.assert_allclose(found.rows - found.r2, expected, rtol=1e-10)
