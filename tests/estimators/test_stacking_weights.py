"""Weights of a pool: against a general optimiser, a grid, and what is known of them."""

import re

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from probmix.stacking import _nonnegative, crps_weights, stack_weights


def log_densities(seed: int, models: int, rows: int) -> np.ndarray:
    """Models of which some are good at some rows."""
    random = np.random.default_rng(seed)
    return random.normal(size=(models, rows)) * random.uniform(0.2, 3, (models, 1)) - random.exponential(1, (models, 1))


def log_score(weights: np.ndarray, log_density: np.ndarray, share: np.ndarray) -> float:
    return float(share @ np.log(weights @ np.exp(log_density)))


def by_slsqp(log_density: np.ndarray, share: np.ndarray) -> float:
    """The largest mean log score by a general optimiser."""
    models = len(log_density)
    found = minimize(
        lambda w: -log_score(w, log_density, share),
        np.full(models, 1 / models),
        jac=lambda w: -(np.exp(log_density) / (w @ np.exp(log_density))) @ share,
        method="SLSQP",
        bounds=[(0, 1)] * models,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return -found.fun


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weighted", [False, True])
def test_no_other_weights_have_a_larger_log_score(seed: int, weighted: bool) -> None:
    log_density = log_densities(seed, models=2 + seed, rows=60)
    row_weight = np.random.default_rng(seed).exponential(size=60) if weighted else None
    share = np.full(60, 1 / 60) if row_weight is None else row_weight / row_weight.sum()
    weights = stack_weights(log_density, row_weight)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    kept = weights > 0
    assert (weights[kept] >= 0.01).all()
    # with those that are kept there is no better pool; the optimality conditions hold
    assert log_score(weights, log_density, share) >= by_slsqp(log_density[kept], share) - 1e-9
    density = np.exp(log_density)
    np.testing.assert_allclose((density[kept] / (weights @ density)) @ share, 1, atol=1e-5)
    # the rest would have added next to nothing
    assert log_score(weights, log_density, share) >= by_slsqp(log_density, share) - 0.01


def test_the_weights_are_those_of_a_grid() -> None:
    log_density = log_densities(7, models=3, rows=40)
    steps = np.linspace(0, 1, 201)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12]).clip(0)
    best = grid[np.argmax(np.log(grid @ np.exp(log_density)).mean(1))]
    np.testing.assert_allclose(stack_weights(log_density), best, atol=0.006)


def test_the_weights_of_shifted_densities_are_the_same_however_small_they_are() -> None:
    log_density = log_densities(1, models=4, rows=50)
    moved = log_density - np.linspace(0, 1e5, 50)
    np.testing.assert_allclose(stack_weights(moved), stack_weights(log_density), atol=1e-6)


def test_the_weight_of_a_row_is_how_often_it_counts() -> None:
    log_density = log_densities(2, models=3, rows=30)
    times = np.random.default_rng(0).integers(0, 4, 30)
    often = stack_weights(np.repeat(log_density, times, axis=1))
    np.testing.assert_allclose(stack_weights(log_density, times), often, atol=1e-7)
    for unit in (1e-9, 1e307):
        np.testing.assert_allclose(stack_weights(log_density, unit * times), often, atol=1e-7)


def test_models_that_agree_share_their_weight() -> None:
    one = log_densities(3, models=1, rows=20)
    np.testing.assert_allclose(stack_weights(np.repeat(one, 3, axis=0)), 1 / 3, atol=1e-9)
    two = log_densities(5, models=2, rows=200)
    weights = stack_weights(np.stack([two[0], two[1], two[1]]))
    np.testing.assert_allclose([weights[0], weights[1:].sum()], stack_weights(two), atol=1e-5)
    np.testing.assert_allclose(weights[1], weights[2], atol=1e-9)
    np.testing.assert_array_equal(stack_weights(one), [1.0])


def test_a_model_with_less_than_a_hundredth_is_dropped_and_the_rest_weighed_again() -> None:
    rows = 1000
    log_density = np.zeros((3, rows))
    log_density[0, : rows // 2] = log_density[1, rows // 2 :] = 1.0
    log_density[2, :4] = 7.0
    log_density[2, 4:] = -3.0
    everyone = minimize(
        lambda w: -log_score(np.append(w, 1 - w.sum()), log_density, np.full(rows, 1 / rows)),
        [0.495, 0.495],
        bounds=[(0, 0.5)] * 2,
    ).x
    assert 0 < 1 - everyone.sum() < 0.01
    weights = stack_weights(log_density)
    np.testing.assert_allclose(weights, [*stack_weights(log_density[:2]), 0.0], atol=1e-12)


def test_a_model_that_alone_covers_a_row_is_kept_however_small_it_is() -> None:
    log_density = np.zeros((2, 1000))
    log_density[1] = -2.0
    log_density[0, 0] = -np.inf
    weights = stack_weights(log_density)
    assert 0 < weights[1] < 0.01
    # d/dw [999 log(1 - w + w / e^2) + log w] = 0
    np.testing.assert_allclose(weights[1], 1 / (1000 * (1 - np.exp(-2))), rtol=1e-6)


def test_rows_that_no_model_expects_say_nothing() -> None:
    log_density = log_densities(4, models=3, rows=30)
    nobody = np.hstack([log_density, np.full((3, 2), -np.inf)])
    np.testing.assert_array_equal(stack_weights(nobody), stack_weights(log_density))
    # neither do rows of weight zero
    weights = np.append(np.ones(30), [0, 0])
    nobody[0, 30:] = 5.0
    np.testing.assert_array_equal(stack_weights(nobody, weights), stack_weights(log_density))


def test_a_hundred_thousand_rows_of_ten_models_are_quick_and_right() -> None:
    log_density = log_densities(9, models=10, rows=100_000)
    weights = stack_weights(log_density)
    kept, density = weights > 0, np.exp(log_density)
    gain = (density / (weights @ density)).mean(1)
    np.testing.assert_allclose(gain[kept], 1, atol=1e-6)


@pytest.mark.parametrize(
    ("log_density", "row_weight", "message"),
    [
        (np.zeros(3), None, "`log_density` must be a table (C, R) of C models on R rows"),
        (np.zeros((0, 3)), None, "at least one of each; got shape (0, 3)"),
        (np.array([[0.0, 1.0], [0.0, np.nan]]), None, "must be finite or -inf; got nan of model 1 at row 1."),
        (np.array([[0.0, np.inf]]), None, "must be finite or -inf; got inf of model 0 at row 1."),
        (np.full((2, 3), -np.inf), None, "`log_density` is -inf under every model in all rows of positive weight"),
        (np.zeros((2, 3)), [1, 2], "`row_weight` must hold one weight for each of the 3 rows; got shape (2,)."),
        (np.zeros((2, 3)), [0, 0, 0], "`row_weight` must be positive in at least one row; got zeros only."),
        (np.zeros((2, 3)), [1, -1, 0], "`row_weight` must be finite and not negative"),
    ],
)
def test_what_is_no_table_of_log_densities_is_refused(
    log_density: np.ndarray, row_weight: object, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        stack_weights(log_density, row_weight)


@pytest.mark.parametrize("seed", range(6))
def test_no_other_weights_have_a_smaller_crps(seed: int) -> None:
    random = np.random.default_rng(seed)
    models = 2 + seed
    factor = random.normal(size=(models, 12)) * random.uniform(0.5, 2, (models, 1)) + 1
    gram = factor @ factor.T
    weights = crps_weights(gram)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    kept = weights > 0
    assert (weights[kept] >= 0.01).all()
    # the gradient is the same for all that are kept
    slopes = gram[np.ix_(kept, kept)] @ weights[kept]
    np.testing.assert_allclose(slopes, weights @ gram @ weights, rtol=1e-8)
    # non-negative least squares has the same minimum, but for the length
    lower = np.linalg.cholesky(gram)
    direction = nnls(lower.T, np.linalg.solve(lower, np.ones(models)))[0]
    if (direction / direction.sum() >= 0.01).sum() == (direction > 0).sum():
        np.testing.assert_allclose(weights, direction / direction.sum(), atol=1e-8)
    others = random.dirichlet(np.ones(models), 20_000)
    assert weights @ gram @ weights <= np.einsum("nc,cd,nd->n", others, gram, others).min() + 1e-3 * gram.max()


def test_the_active_set_is_that_of_non_negative_least_squares() -> None:
    random = np.random.default_rng(0)
    for models in (1, 2, 5, 12):
        for _ in range(20):
            lower = np.linalg.cholesky(np.cov(random.normal(size=(models, 3 * models + 2))).reshape(models, models))
            slope = random.normal(size=models) + 0.5
            expected = nnls(lower.T, np.linalg.solve(lower, slope))[0]
            np.testing.assert_allclose(_nonnegative(lower @ lower.T, slope), expected, rtol=1e-5, atol=1e-7)


def test_the_crps_weights_of_two_are_known() -> None:
    gram = np.array([[3.0, 0.5], [0.5, 1.0]])
    expected = (1.0 - 0.5) / (3.0 + 1.0 - 1.0)
    np.testing.assert_allclose(crps_weights(gram), [expected, 1 - expected], rtol=1e-8)
    np.testing.assert_allclose(crps_weights(1e30 * gram), [expected, 1 - expected], rtol=1e-8)
    np.testing.assert_allclose(crps_weights(np.ones((3, 3))), 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(crps_weights(np.zeros((2, 2))), [0.5, 0.5])


@pytest.mark.parametrize(
    ("gram", "message"),
    [
        (np.zeros((2, 3)), "`gram` must be a square matrix, (C, C); got shape (2, 3)."),
        (np.full((2, 2), np.nan), "`gram` must be finite; got nan."),
        (np.array([[1.0, 0.5], [0.1, 1.0]]), "`gram` must be symmetric"),
    ],
)
def test_what_is_no_quadratic_form_is_refused(gram: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        crps_weights(gram)
