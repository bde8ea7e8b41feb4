"""Scores of classes look at the probabilities of a mixture of Categoricals, not at those of its components."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from torch.distributions import Categorical, Independent, MixtureSameFamily

from probmix.plots import ReliabilityDisplay
from probmix.scores import (
    brier,
    corp_decomposition,
    crps,
    evaluate,
    expected_calibration_error,
    ranked_probability_score,
    reliability_curve,
)

N, M, K = 4, 4, 3  # as many components as rows, so that nothing fails by its shape
GENERATOR = torch.Generator().manual_seed(0)
WEIGHTS = torch.rand(N, M, generator=GENERATOR, dtype=torch.float64)
PROBS = torch.rand(N, M, K, generator=GENERATOR, dtype=torch.float64)
PROBS = PROBS / PROBS.sum(-1, keepdim=True)
MIXTURE = MixtureSameFamily(Categorical(WEIGHTS), Categorical(PROBS))
# the same by the definition
POOLED = Categorical(((WEIGHTS / WEIGHTS.sum(-1, keepdim=True)).unsqueeze(-1) * PROBS).sum(1))
Y = torch.tensor([0, 2, 1, 1])


def test_evaluate_scores_a_mixture_as_its_pooled_probabilities() -> None:
    table = evaluate({"mixture": MIXTURE, "pooled": POOLED}, None, Y)
    found, expected = (table["mean"].unstack()[name] for name in ("mixture", "pooled"))
    assert set(found.index) == {"nll", "brier", "rps", "accuracy"}
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    probs, observed = POOLED.probs.numpy(), np.eye(K)[Y]
    np.testing.assert_allclose(brier(MIXTURE, Y), ((probs - observed) ** 2).sum(-1), rtol=1e-12)


def test_calibration_of_a_mixture_is_that_of_its_pooled_probabilities() -> None:
    for score in (
        lambda one: expected_calibration_error(one, Y),
        lambda one: corp_decomposition(one, Y, "brier").score,
        lambda one: reliability_curve(one, Y).probability,
        lambda one: reliability_curve(one, Y, event=2).probability,
    ):
        np.testing.assert_allclose(score(MIXTURE), score(POOLED), rtol=1e-12)
    shown = [ReliabilityDisplay.from_predictions(one, Y, ax=Figure().subplots()) for one in (MIXTURE, POOLED)]
    assert shown[0].event_name == shown[1].event_name == "confidence of the most probable class"


def test_arrays_of_probabilities_are_told_where_they_are_taken_for_draws() -> None:
    probs = POOLED.probs.numpy()
    for score in (
        lambda: crps(probs, Y),
        lambda: crps(probs.round(3), Y),
        lambda: evaluate({"classes": probs}, None, Y, scores="crps"),
    ):
        with pytest.warns(UserWarning, match="have the sum 1, as probabilities of classes do"):
            score()
    # these take them as what they are
    torch.testing.assert_close(ranked_probability_score(probs, Y), ranked_probability_score(POOLED, Y))
    # certain zeros and ones may be draws
    crps(np.eye(3), [0.0, 1.0, 0.0])


def test_labels_that_are_text_are_told_how_to_be_scored() -> None:
    words = ["a", "c", "b", "b"]
    with pytest.raises(ValueError, match="for scores their places in its `classes_`"):
        brier(POOLED, words)
    with pytest.raises(ValueError, match="Pass class indices"):
        ReliabilityDisplay.from_predictions(POOLED, words, ax=Figure().subplots())
    model = LogisticRegression().fit(np.arange(4.0)[:, None], Y)
    for labels in (words, np.array([0, "a", 1, 2], dtype=object)):
        with pytest.raises(ValueError, match=r"classes that the estimator has seen, \[0, 1, 2\]; got 'a'"):
            evaluate({"logit": model}, np.arange(4.0)[:, None], labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_several_targets_are_pooled_one_by_one(dtype: torch.dtype) -> None:
    probs = PROBS.to(dtype).unsqueeze(-2).repeat(1, 1, 2, 1)
    probs[..., 1, :] = probs[..., 1, :].flip(-1)
    mixture = MixtureSameFamily(Categorical(WEIGHTS.to(dtype)), Independent(Categorical(probs), 1))
    targets = torch.stack([Y, K - 1 - Y], -1)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(brier(mixture, targets).double(), brier(POOLED, Y), rtol=tolerance, atol=0)
