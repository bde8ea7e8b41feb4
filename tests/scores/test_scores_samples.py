"""Scores of draws, against other libraries, sums over all pairs in NumPy, and closed forms."""

import math
import re

import numpy as np
import properscoring
import pytest
import scoringrules
import torch
from score_oracles import DTYPES, close

from probmix.scores import crps, crps_samples, energy_score
from probmix.scores import samples as module

RTOL = {torch.float32: 1e-6, torch.float64: 1e-12}


def pairs_oracle(samples, y, fair, beta=1.0):
    """The definition, (*B, m, d) and (*B, d), with all pairs at once."""
    x, m = samples.double().numpy(), samples.shape[-2]
    near = np.linalg.norm(x - y.double().numpy()[..., None, :], axis=-1) ** beta
    between = np.linalg.norm(x[..., :, None, :] - x[..., None, :, :], axis=-1) ** beta
    return near.mean(-1) - between.sum((-2, -1)) / (2 * m * (m - fair))


def draws(shape, dtype=torch.float64, offset=0.0, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (offset + scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


# -- CRPS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [2, 3, 50, 401])
@pytest.mark.parametrize(
    ("offset", "scale", "deviation"),
    [(0.0, 1.0, 1.0), (1e6, 1.0, 1.0), (1e6, 1e-3, 1.0), (-1e6, 5.0, 100.0), (0.0, 1e-3, 3.0), (3.0, 1e8, 1.0)],
)
def test_crps_of_draws(dtype, m, offset, scale, deviation):
    samples = draws((4, 9, m), dtype, offset, scale)
    y = draws((4, 9), dtype, offset, scale * deviation, seed=1)
    x, t = samples.double().numpy(), y.double().numpy()
    # the libraries add up the draws themselves, so that they lose digits far from zero; the differences are exact here
    x, t = x - t[..., None], np.zeros_like(t)
    oracles = {
        False: [properscoring.crps_ensemble(t, x), scoringrules.crps_ensemble(t, x, estimator="nrg", backend="numpy")],
        True: [scoringrules.crps_ensemble(t, x, estimator="fair", backend="numpy")],
    }
    for fair, expected in oracles.items():
        value = crps_samples(samples, y, fair=fair)
        assert value.dtype == dtype
        assert value.shape == (4, 9)
        assert (value >= 0).all()
        # the oracles subtract: what they get is good to the digits of the mean distance only
        atol = 1e-14 * np.abs(x).mean(-1).max()
        for oracle in [*expected, pairs_oracle(samples.unsqueeze(-1), y.unsqueeze(-1), fair)]:
            np.testing.assert_allclose(value.double().numpy(), oracle, rtol=RTOL[dtype], atol=atol)


def test_crps_of_draws_cancels_nothing_where_nearly_all_agree():
    samples = torch.zeros(1, 10_000)
    samples[0, 77] = 3.0
    close(crps_samples(samples, torch.zeros(1), fair=False), [3e-8], 1e-6)
    assert crps_samples(samples, torch.zeros(1)).item() == 0


def test_the_fair_crps_is_unbiased_and_the_plain_one_is_too_large():
    normal = torch.distributions.Normal(torch.zeros(40_000, dtype=torch.float64), 1.0)
    y = draws((40_000,), seed=2)
    samples = draws((40_000, 4), seed=3)
    exact = crps(normal, y)
    error = crps_samples(samples, y) - exact
    assert abs(error.mean()) < 4 * error.std() / 200
    # E|X - X'| of N(0, 1) is 2/sqrt(pi)
    excess = (crps_samples(samples, y, fair=False) - exact).mean()
    assert excess == pytest.approx(2 / math.sqrt(math.pi) / (2 * 4), abs=4 * error.std().item() / 200)


def test_the_expected_crps_of_draws_is_smallest_at_the_truth():
    noise, y = draws((20_000, 6), seed=4), draws((20_000,), seed=5)
    best = crps_samples(noise, y).mean()
    for other in (0.8 * noise, 1.25 * noise, noise + 0.2, noise - 0.2):
        assert crps_samples(other, y).mean() > best + 5e-3


@pytest.mark.parametrize("fair", [True, False])
def test_gradients_of_the_crps(fair):
    samples, y = draws((3, 7)).requires_grad_(), draws((3,), seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: crps_samples(s, t, fair=fair), (samples, y))
    # at kinks: even between both sides
    (gradient,) = torch.autograd.grad(crps_samples(torch.zeros(2, 5), y := torch.zeros(2, requires_grad=True)).sum(), y)
    assert gradient.tolist() == [0.0, 0.0]
    far = draws((3, 7), torch.float32, 1e6, 1e-3).requires_grad_()
    (gradient,) = torch.autograd.grad(crps_samples(far, torch.full((3,), 1e6), fair=fair).sum(), far)
    assert gradient.isfinite().all()


def test_shapes_of_draws():
    samples, y = draws((5, 3, 8)), draws((3,), seed=1)
    close(crps_samples(samples, y), crps_samples(samples, y.expand(5, 3)).numpy(), 1e-15)
    assert crps_samples(samples[0, 0], torch.tensor(1)).shape == ()
    assert crps_samples(samples[:0], y).shape == (0, 3)
    assert crps_samples(draws((2, 1)), torch.zeros(2), fair=False).tolist() == draws((2, 1)).abs().flatten().tolist()
    # y as counts, and draws in any order
    assert crps_samples(samples.float(), torch.tensor([1, 2, 3])).dtype == torch.float32
    close(crps_samples(samples.flip(-1), y), crps_samples(samples, y).numpy(), 1e-15)
    assert energy_score(samples, draws((8,))).shape == (5,)
    assert energy_score(samples[:0], draws((8,))).shape == (0,)
    assert energy_score(samples[0], torch.zeros(8)).shape == ()
    lone = energy_score(samples[:, :1], torch.zeros(8), fair=False)
    close(lone, samples[:, 0].norm(dim=-1).numpy(), 1e-14)


# -- energy score ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fair", [True, False])
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1e6, 1.0), (1e6, 1e-3), (0.0, 1e-3)])
@pytest.mark.parametrize(("m", "d"), [(2, 1), (30, 2), (60, 12)])
def test_energy_score(dtype, fair, offset, scale, m, d):
    samples, y = draws((2, 6, m, d), dtype, offset, scale), draws((2, 6, d), dtype, offset, scale, seed=1)
    value = energy_score(samples, y, fair=fair)
    assert value.dtype == dtype
    assert value.shape == (2, 6)
    x, t = samples.double().numpy(), y.double().numpy()
    estimator = "fair" if fair else "nrg"
    expected = scoringrules.es_ensemble(t, x, estimator=estimator, backend="numpy")
    # a difference: its digits are those of the mean distance
    atol = (1e-6 if dtype == torch.float32 else 1e-13) * np.linalg.norm(x - t[..., None, :], axis=-1).mean(-1).max()
    np.testing.assert_allclose(value.double().numpy(), expected, rtol=0, atol=atol)
    for beta in (0.3, 1.0, 1.7):
        power = energy_score(samples, y, beta=beta, fair=fair).double().numpy()
        np.testing.assert_allclose(
            power, pairs_oracle(samples, y, fair, beta), rtol=RTOL[dtype], atol=atol**beta if beta < 1 else atol
        )
    if d == 1:
        univariate = crps_samples(samples.squeeze(-1), y.squeeze(-1), fair=fair)
        np.testing.assert_allclose(value.numpy(), univariate.numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize("limit", [1, 100, 1000, 30_000])
@pytest.mark.parametrize("needs_gradient", [True, False])
def test_the_energy_score_holds_few_pairs_at_once(limit, needs_gradient, monkeypatch):
    samples, y = draws((7, 40, 3)).requires_grad_(needs_gradient), draws((7, 3), seed=1)
    expected = energy_score(samples, y).detach()
    sizes, cdist = [], torch.cdist

    def recorded(one, other, **options):
        # before the call: when the backward pass computes it anew, autograd leaves in the middle of it
        sizes.append(one.numel() * other.shape[-2])
        return cdist(one, other, **options)

    monkeypatch.setattr(torch, "cdist", recorded)
    monkeypatch.setattr(module, "_ELEMENTS", limit)
    value = energy_score(samples, y)
    close(value.detach(), expected.numpy(), 1e-13)
    # one draw against all others is the least there is
    assert max(sizes) <= max(limit, 40 * 3)
    if needs_gradient:
        sizes.clear()
        value.sum().backward()
        assert 0 < max(sizes) <= max(limit, 40 * 3)


@pytest.mark.parametrize("beta", [0.6, 1.0, 1.5])
def test_gradients_of_the_energy_score(beta, monkeypatch):
    monkeypatch.setattr(module, "_ELEMENTS", 60)
    samples, y = draws((3, 6, 2)).requires_grad_(), draws((3, 2), seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: energy_score(s, t, beta=beta), (samples, y))
    # coinciding draws, also at the target
    equal = torch.ones(2, 5, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(energy_score(equal, torch.ones(2, 3), beta=beta).sum(), equal)
    assert gradient.abs().max() == 0


def test_the_expected_energy_score_is_smallest_at_the_truth():
    root = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    noise, y = draws((20_000, 6, 2), seed=6), draws((20_000, 2), seed=7) @ root.T
    best = energy_score(noise @ root.T, y).mean()
    independent = torch.eye(2, dtype=torch.float64)
    others = [noise @ root.T + 0.3, 1.3 * noise @ root.T, 0.75 * noise @ root.T, noise @ independent]
    assert all(energy_score(other, y).mean() > best + 5e-3 for other in others)


# -- errors and devices ------------------------------------------------------------------------------------------------


def test_errors_of_draws():
    with raises(TypeError, "`samples` must be float32 or float64, got torch.float16. Pass samples.double()."):
        crps_samples(torch.ones(2, 3, dtype=torch.float16), torch.ones(2))
    with raises(TypeError, "`samples` must be float32 or float64, got torch.float16. Pass samples.double()."):
        energy_score(torch.ones(2, 3, 1, dtype=torch.float16), torch.ones(2, 1))
    finite = "`samples` must be finite; got nan at index (1, 2). Drop or impute these rows."
    with raises(ValueError, finite):
        crps_samples(torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, math.nan]]), torch.ones(2))
    with raises(ValueError, "`y` must be finite; got inf at row 1. Drop or impute these rows."):
        crps_samples(torch.ones(2, 3), torch.tensor([0.0, math.inf]))
    rule = "`y` must broadcast to the shape of `samples` without the last axis, (2,); got shape "
    with raises(ValueError, rule + "(2, 1). Pass y.reshape((2,))."):
        crps_samples(torch.ones(2, 3), torch.ones(2, 1))
    with raises(ValueError, rule + "(4,). Pass one value for each row."):
        crps_samples(torch.ones(2, 3), torch.ones(4))
    with raises(
        ValueError,
        "`y` must broadcast to the shape of `samples` without the axis of draws, (2, 3); got shape (2, 9). "
        "Pass one value for each row.",
    ):
        energy_score(torch.ones(2, 9, 3), torch.ones(2, 9))
    with raises(
        ValueError,
        "`samples` must hold at least one draw along the last axis, got shape (2, 0). Pass shape (rows, draws).",
    ):
        crps_samples(torch.ones(2, 0), torch.ones(2))
    for shape in [(2, 0, 3), (2, 3, 0), (3,)]:
        with raises(
            ValueError,
            "`samples` must hold at least one draw of at least one target along the last two axes, "
            f"got shape {shape}. Pass shape (rows, draws, targets).",
        ):
            energy_score(torch.ones(shape), torch.ones(2))
    single = (
        "the fair score needs at least two draws in each row, got 1. "
        "Draw more, or pass fair=False for the distance to the single draw."
    )
    with raises(ValueError, single):
        crps_samples(torch.ones(2, 1), torch.ones(2))
    with raises(ValueError, single):
        energy_score(torch.ones(2, 1, 3), torch.ones(2, 3))
    for beta in (0.0, 2.0, math.nan):
        message = f"`beta` must lie between 0 and 2, both excluded, got {beta:g}. Pass 1 for the usual score."
        with raises(ValueError, message):
            energy_score(torch.ones(2, 3, 1), torch.ones(2, 1), beta=beta)


@pytest.mark.cuda
def test_cuda_scores_draws_like_the_cpu():
    samples, y = draws((20, 30, 3), torch.float32), draws((20, 3), torch.float32, seed=1)
    for score in (lambda s, t: crps_samples(s[..., 0], t[..., 0]), energy_score):
        on_cpu, on_cuda = samples.clone().requires_grad_(), samples.cuda().requires_grad_()
        expected, value = score(on_cpu, y), score(on_cuda, y.cuda())
        assert value.device.type == "cuda"
        torch.testing.assert_close(value.cpu(), expected, rtol=1e-5, atol=1e-6)
        expected.sum().backward()
        value.sum().backward()
        torch.testing.assert_close(on_cuda.grad.cpu(), on_cpu.grad, rtol=1e-4, atol=1e-6)
