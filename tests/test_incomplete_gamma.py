"""The incomplete gamma functions against fifty digits, their derivatives, and what becomes of odd arguments."""

import functools

import mpmath
import numpy as np
import pytest
import torch
from gamma_oracle import SHAPES, exact_tails, points

from probmix import _incomplete_gamma, linear_pool
from probmix._incomplete_gamma import incomplete_gamma, log_gamma_kernel, shape_derivative
from probmix.distributions import Gamma, Poisson
from probmix.distributions.scoring import marginal_crps
from probmix.scores import crps

DIGITS = 50
WIDE = torch.float64
# below this, and where float64 ends, the smaller tail is no longer compared
LEAST = 1e-300


def columns(rows: list[tuple[float, ...]]) -> list[torch.Tensor]:
    return [torch.tensor(column, dtype=WIDE) for column in zip(*rows, strict=True)]


def errors(got: torch.Tensor, exact: list[mpmath.mpf]) -> np.ndarray:
    with mpmath.workdps(DIGITS):
        return np.array([float(abs(mpmath.mpf(v) / e - 1)) for v, e in zip(got.tolist(), exact, strict=True)])


@functools.cache
def exact_rows(a: float) -> list[tuple[float, mpmath.mpf, mpmath.mpf]]:
    """The points x of a shape at which its smaller tail is no underflow, and both tails."""
    with mpmath.workdps(DIGITS):
        rows = [(x, *exact_tails(mpmath.mpf(a), mpmath.mpf(x))) for x in points(a)]
    return [row for row in rows if min(row[1:]) > LEAST]


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", SHAPES)
def test_both_tails_are_exact(a: float) -> None:
    x, lower, upper = zip(*exact_rows(a), strict=True)
    got_lower, got_upper = incomplete_gamma(torch.tensor(a, dtype=WIDE), torch.tensor(x, dtype=WIDE))
    # the exponent of the integrand is rounded to a part of x
    rtol = 4e-13 if a <= 1e6 else 4e-12
    assert errors(got_lower, lower).max() < rtol
    assert errors(got_upper, upper).max() < rtol


def test_the_tails_add_up_and_are_monotone() -> None:
    a = torch.logspace(-9, 8, 200, dtype=WIDE).unsqueeze(-1)
    x = torch.logspace(-12, 9, 2000, dtype=WIDE)
    lower, upper = incomplete_gamma(a, x)
    assert lower.shape == (200, 2000)
    torch.testing.assert_close(lower + upper, torch.ones_like(lower), rtol=3e-16, atol=0)
    assert bool(((lower >= 0) & (upper >= 0)).all())
    # up to rounding, across all changes of method
    assert bool((lower.diff(dim=-1) >= -1e-12 * lower[:, 1:]).all())
    assert bool((upper.diff(dim=-1) <= 1e-12 * upper[:, :-1]).all())


@pytest.mark.parametrize("a", SHAPES)
def test_the_kernel_is_the_gamma_density_times_x(a: float) -> None:
    x = [row[0] for row in exact_rows(a)]
    got = log_gamma_kernel(torch.tensor(a, dtype=WIDE), torch.tensor(x, dtype=WIDE))
    with mpmath.workdps(DIGITS):
        exact = [float(a * mpmath.log(t) - t - mpmath.loggamma(mpmath.mpf(a) + 1)) for t in x]
    np.testing.assert_allclose(got, exact, rtol=1e-15, atol=2e-14 if a < 1e4 else 2e-13)


# -- derivatives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", SHAPES)
def test_the_derivative_in_the_shape_is_exact(a: float) -> None:
    x = [row[0] for row in exact_rows(a)][::2]
    with mpmath.workdps(DIGITS):
        step, exact = mpmath.mpf(a) * mpmath.mpf(10) ** -15, []
        for t in map(mpmath.mpf, x):
            after, before = exact_tails(a + step, t), exact_tails(a - step, t)
            # of the smaller tail, for the difference of the other one has no digits left
            small = int(min(before) == before[1])
            exact.append((after[small] - before[small]) * (1 - 2 * small) / (2 * step))
    shape = torch.tensor(a, dtype=WIDE, requires_grad=True)
    got = shape_derivative(shape, torch.tensor(x, dtype=WIDE))
    assert errors(got, exact).max() < (1e-12 if a <= 1e6 else 1e-11)
    for sign in (1, -1):
        tail = incomplete_gamma(shape, torch.tensor(x, dtype=WIDE))[(1 - sign) // 2]
        (total,) = torch.autograd.grad(tail.sum(), shape)
        torch.testing.assert_close(total, sign * got.sum(), rtol=1e-12, atol=0)


def test_the_derivative_in_x_is_the_density() -> None:
    rows = [(a, row[0]) for a in SHAPES[2:] for row in exact_rows(a)]
    a, x = columns(rows)
    x.requires_grad_()
    (got,) = torch.autograd.grad(incomplete_gamma(a, x)[1].sum(), x)
    with mpmath.workdps(DIGITS):
        exact = [
            -mpmath.exp((a - 1) * mpmath.log(t) - t - mpmath.loggamma(a))
            for a, t in ((mpmath.mpf(a), mpmath.mpf(t)) for a, t in rows)
        ]
    assert errors(got, exact).max() < 3e-13


def test_gradcheck_and_transforms() -> None:
    a, x = columns([(0.2, 0.4), (0.7, 3.0), (3.0, 0.5), (3.0, 5.0), (40.0, 41.0), (40.0, 60.0)])
    assert torch.autograd.gradcheck(incomplete_gamma, (a.requires_grad_(), x.requires_grad_()))
    per_row = torch.func.vmap(torch.func.grad(lambda a, x: incomplete_gamma(a, x)[0]))(a.detach(), x.detach())
    torch.testing.assert_close(per_row, shape_derivative(a, x))


def test_gradients_of_broadcast_arguments_have_their_shapes() -> None:
    a = torch.tensor([[0.5], [7.0]], dtype=WIDE, requires_grad=True)
    x = torch.tensor([0.1, 2.0, 9.0], dtype=WIDE, requires_grad=True)
    in_a, in_x = torch.autograd.grad(incomplete_gamma(a, x)[0].sum(), (a, x))
    torch.testing.assert_close(in_a, shape_derivative(a, x).sum(1, keepdim=True))
    assert in_x.shape == (3,)


# -- odd arguments -----------------------------------------------------------------------------------------------------


def test_ends_of_the_support_and_beyond() -> None:
    a = torch.tensor([[1e-9], [0.5], [3.0], [1e8]], dtype=WIDE, requires_grad=True)
    x = torch.tensor([-1.0, 0.0, 1e-310, 1e12, 1e200, torch.inf], dtype=WIDE, requires_grad=True)
    lower, upper = incomplete_gamma(a, x)
    assert bool((lower[:, :2] == 0).all())
    assert bool((upper[:, :2] == 1).all())
    assert bool((lower[:, 3:] == 1).all())
    assert bool((upper[:, 3:] == 0).all())
    in_a, in_x = torch.autograd.grad(lower[:, [0, 1, 3, 4]].sum(), (a, x))
    assert bool((in_a == 0).all())
    assert bool((in_x == 0).all())


def test_no_number_stays_no_number() -> None:
    a, x = columns([(torch.nan, 1.0), (1.0, torch.nan), (2.0, 3.0)])
    lower, upper = incomplete_gamma(a, x)
    assert lower.isnan().tolist() == upper.isnan().tolist() == [True, True, False]


def test_no_elements() -> None:
    lower, upper = incomplete_gamma(torch.ones(0, 3, dtype=WIDE), torch.ones(3, dtype=WIDE))
    assert lower.shape == upper.shape == (0, 3)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    a, x = torch.logspace(-3, 5, 50, dtype=WIDE).unsqueeze(-1), torch.logspace(-3, 5, 7, dtype=WIDE)
    whole = (*incomplete_gamma(a, x), shape_derivative(a, x))
    monkeypatch.setattr(_incomplete_gamma, "_BLOCK_CPU", 1)
    torch.testing.assert_close((*incomplete_gamma(a, x), shape_derivative(a, x)), whole, rtol=1e-13, atol=0)


@pytest.mark.cuda
def test_cuda_agrees() -> None:
    a, x = columns([(a, x) for a in SHAPES for x in points(a)])
    here = (*incomplete_gamma(a, x), shape_derivative(a, x))
    there = (*incomplete_gamma(a.cuda(), x.cuda()), shape_derivative(a.cuda(), x.cuda()))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=3e-12, atol=1e-300)


# -- what rests on them ------------------------------------------------------------------------------------------------

LEVELS = (1e-280, 1e-30, 1e-6, 0.1, 0.5, 0.51, 0.9, 1 - 1e-6, 1 - 1e-15)


@pytest.mark.parametrize("a", [1e-3, 0.03, 0.3, 1.0, 1.5, 12.0, 300.0, 1e6, 1e8])
def test_quantiles_of_a_gamma_are_exact(a: float) -> None:
    x = Gamma(torch.tensor(a, dtype=WIDE), torch.tensor(1.0, dtype=WIDE)).icdf(torch.tensor(LEVELS, dtype=WIDE))
    for q, got in zip(LEVELS, x.tolist(), strict=True):
        with mpmath.workdps(DIGITS):
            if got < 1e-300:  # the quantile underflows
                assert mpmath.mpf(q) <= mpmath.mpf(1e-300) ** a
                continue
            # by what part of itself x would have to change; the density is below one per log x and standard deviation
            t, shape = mpmath.mpf(got), mpmath.mpf(a)
            lower, upper = exact_tails(shape, t)
            missing = (mpmath.mpf(q) - lower) if q <= 0.5 else (upper - (1 - mpmath.mpf(q)))
            density = mpmath.exp(shape * mpmath.log(t) - t - mpmath.loggamma(shape))
            assert abs(missing / density) < 4e-13, (q, got)


def test_quantiles_of_a_gamma_are_differentiable() -> None:
    a, rate, q = columns([(0.05, 2.0, 0.9), (0.7, 0.1, 0.3), (5.0, 1.0, 0.99), (400.0, 3.0, 0.01)])
    inputs = (a.requires_grad_(), rate.requires_grad_(), q.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b, q: Gamma(a, b, validate_args=False).icdf(q), inputs, atol=1e-4)


@pytest.mark.parametrize("rate", [1e-3, 0.4, 3.0, 50.0, 1e4, 1e7])
def test_quantiles_of_a_poisson_are_the_smallest_counts(rate: float) -> None:
    levels = torch.tensor([*LEVELS[2:-1], 1 - 1e-13], dtype=WIDE)
    counts = Poisson(torch.tensor(rate, dtype=WIDE)).icdf(levels)
    for q, got in zip(levels.tolist(), counts.tolist(), strict=True):
        with mpmath.workdps(DIGITS):
            assert exact_tails(mpmath.mpf(got) + 1, mpmath.mpf(rate))[1] >= q * (1 - 1e-14)
            assert got == 0 or exact_tails(mpmath.mpf(got), mpmath.mpf(rate))[1] < q


def test_mixtures_of_gammas_are_differentiable_in_the_shapes() -> None:
    a, b = columns([(0.5, 1.0), (20.0, 4.0)])
    y = torch.tensor([0.01, 2.0, 9.0], dtype=WIDE)

    def mixture_crps(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        weights = torch.tensor([[0.3, 0.7]], dtype=WIDE)
        return crps(linear_pool(Gamma(a.expand(3, 2), b.expand(3, 2), validate_args=False), weights), y)

    assert torch.autograd.gradcheck(mixture_crps, (a.requires_grad_(), b.requires_grad_()), atol=1e-6, rtol=1e-5)


def test_scores_of_single_rows_have_gradients_of_their_own() -> None:
    """torch.func sees each row alone."""
    rate, y = columns([(0.1, 0.0), (3.0, 5.0), (300.0, 270.0)])
    for make in (Poisson, lambda r: Gamma(r, r.sqrt())):
        whole = rate.clone().requires_grad_()
        (together,) = torch.autograd.grad(marginal_crps(make(whole), y + 0.0).sum(), whole)

        def alone(r, y, make=make):
            return marginal_crps(make(r), y)

        torch.testing.assert_close(torch.func.vmap(torch.func.grad(alone))(rate, y), together)
