"""Scores of predictions on a GPU that any machine has: every public one stays there."""

import inspect

import pytest
import torch
from pretend_device import GPU, PretendDevice

from probmix import families, scores
from probmix.pooling import linear_pool

N = 4
# What they need besides a distribution and targets.
OPTIONS = {
    "coverage": {"level": 0.9},
    "corp_decomposition": {"score": "crps"},
}
CLASSES = {"brier", "expected_calibration_error", "ranked_probability_score", "reliability_curve"}
FAMILIES = ["gaussian", "gamma", "poisson", "negative-binomial", "student-t", "beta", "zero-inflated-poisson"]


def of_a_distribution():
    """Scores of a distribution and targets; the others take models, draws or quantiles."""
    functions = {name: getattr(scores, name) for name in scores.__all__ if inspect.isfunction(getattr(scores, name))}
    return {name for name, one in functions.items() if next(iter(inspect.signature(one).parameters)) == "distribution"}


@pytest.fixture
def gpu(monkeypatch):
    class HostGenerator(torch.Generator):
        def __new__(cls, device=None):
            return super().__new__(cls)

    monkeypatch.setattr(torch, "Generator", HostGenerator)
    with PretendDevice() as device:
        yield device


def tensors_of(result):
    if isinstance(result, torch.Tensor):
        return [result]
    parts = result if isinstance(result, tuple) else vars(result).values() if hasattr(result, "__dict__") else ()
    return [part for part in parts if isinstance(part, torch.Tensor)]


@pytest.mark.parametrize(
    ("name", "pooled"),
    [(name, False) for name in FAMILIES] + [(name, True) for name in ("gaussian", "poisson")],
)
def test_scores_of_numbers_stay_on_the_device(gpu, name, pooled):
    family = families.get(name)
    # with small parameters, by which the variance of Student's t is finite
    components = family.constrain(0.1 * torch.randn(N, 2, family.num_raw).to("cuda"))
    distribution = linear_pool(family.distribution(components)) if pooled else family.distribution(components[:, 0])
    y = family.distribution(components[:, 0]).sample()
    for score in sorted(of_a_distribution() - CLASSES - {"interval_width", "corp_decomposition"}):
        result = getattr(scores, score)(distribution, y, **OPTIONS.get(score, {}))
        assert all(one.device == GPU for one in tensors_of(result)), score
    assert scores.interval_width(distribution, 0.9).device == GPU


@pytest.mark.parametrize("name", ["categorical", "bernoulli"])
def test_scores_of_classes_stay_on_the_device(gpu, name):
    family = families.get(name, **({"num_classes": 3} if name == "categorical" else {}))
    distribution = family.distribution(family.constrain(torch.randn(N, family.num_raw).to("cuda")))
    y = distribution.sample()
    for score in sorted((CLASSES if name == "categorical" else set()) | {"nll", "crps"}):
        assert all(one.device == GPU for one in tensors_of(getattr(scores, score)(distribution, y))), score


def test_scores_of_draws_and_quantiles_stay_on_the_device(gpu):
    draws, y = torch.randn(N, 7).to("cuda"), torch.randn(N).to("cuda")
    lower, upper = draws.amin(-1), draws.amax(-1)
    found = [
        scores.crps_samples(draws, y),
        scores.threshold_weighted_crps_samples(draws, y, lower=0.0),
        scores.energy_score(draws.unsqueeze(-1), y.unsqueeze(-1)),
        scores.interval_score(lower, upper, y, 0.9),
        scores.quantile_score(torch.stack([lower, upper], -1), y, [0.1, 0.9]),
        scores.crps_quantiles(torch.stack([lower, upper], -1), y, [0.1, 0.9]),
        scores.weighted_interval_score(draws.median(-1).values, lower.unsqueeze(-1), upper.unsqueeze(-1), y, [0.9]),
    ]
    assert all(one.device == GPU for one in found)


def test_a_log_likelihood_never_waits(gpu):
    """But for torch's look at the targets, which a user may switch off."""
    family = families.get("gaussian")
    distribution = family.distribution(family.constrain(torch.randn(N, 2).to("cuda")))
    y = distribution.sample()
    gpu.waits.clear()
    distribution.log_prob(y)
    assert {wait.split(": ")[1] for wait in gpu.waits} <= {"validation"}
