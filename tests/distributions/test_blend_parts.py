"""Which parts of a blend are merged, blends of several targets, rows of blends, and what is no blend."""

import pickle
import re

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from blend_cases import RNG, WEIGHTS, A, B, C, D, N, even, three

from probmix import linear_pool
from probmix.distributions import (
    Beta,
    Binned,
    Blend,
    Categorical,
    Gamma,
    Hurdle,
    Independent,
    LogNormal,
    Mixture,
    NegativeBinomial,
    Poisson,
    QuantileFunction,
    StudentT,
    ZeroAdjusted,
    ZeroInflated,
    blend,
    cdf,
    concatenate,
    icdf,
)
from probmix.distributions.scoring import marginal_nll
from probmix.distributions.selection import select
from probmix.distributions.supports import support_ends
from probmix.scores import coverage, crps, nll, threshold_weighted_crps

# -- parts of one kind -------------------------------------------------------------------------------------------------

PAIRS = [torch.tensor(RNG.uniform(0.5, 3.0, (N, k))) for k in (1, 2, 3)]
INNER = [torch.tensor(RNG.dirichlet(np.ones(k), N)) for k in (1, 2, 3)]
KINDS = {
    "Normal": lambda p: dist.Normal(p, p.sqrt()),
    "StudentT": lambda p: StudentT(2 + p, p, p.sqrt()),
    "Gamma": lambda p: Gamma(p, p.sqrt()),
    "LogNormal": lambda p: LogNormal(p, p.sqrt()),
    "Poisson": Poisson,
    "NegativeBinomial": lambda p: NegativeBinomial.from_mean(p, p.sqrt()),
    "ZeroInflated": lambda p: ZeroInflated(Poisson(p), gate_logits=1 - p),
    "ZeroAdjusted": lambda p: ZeroAdjusted(Gamma(p, p.sqrt()), gate_logits=1 - p),
    "Hurdle": lambda p: Hurdle(Poisson(p), gate_logits=1 - p),
    "Binned": lambda p: Binned(torch.stack([p, p.sqrt(), 2 - p], -1), [-1.0, 0.5, 1.5, 4.0], [1.0, 2.0]),
    "Categorical": lambda p: Categorical(logits=torch.stack([p, p.sqrt(), 2 - p], -1)),
    "pairs": lambda p: Independent(dist.Normal(torch.stack([p, -p], -1), 1.0), 1),
    "multivariate": lambda p: dist.MultivariateNormal(torch.stack([p, -p], -1), torch.eye(2).double()),
}


@pytest.mark.parametrize("name", KINDS)
def test_parts_of_one_kind_are_one_mixture(name):
    make = KINDS[name]
    single = select(make(PAIRS[0]), torch.arange(N), 2)
    parts = [single, *(linear_pool(make(p), w) for p, w in zip(PAIRS[1:], INNER[1:], strict=True))]
    found = blend(WEIGHTS, parts)
    weights = torch.cat([WEIGHTS[:, k : k + 1] * INNER[k] for k in range(3)], -1)
    want = linear_pool(make(torch.cat(PAIRS, -1)), weights)
    assert type(found) is type(want)
    y = torch.where(torch.arange(N) > 2, 2.0, 1.0).double()
    y = torch.stack([y, y], -1) if found.event_shape else y
    functions = [nll, crps, lambda d, y: cdf(d, y.double()), lambda d, y: threshold_weighted_crps(d, y, 0.2, 1.5)]
    if name != "Categorical":
        functions += [lambda d, y: d.mean, lambda d, y: d.variance]
    for function in functions:
        torch.testing.assert_close(function(found, y), function(want, y), rtol=1e-12, atol=1e-14)
    # a blend that is not merged is the same distribution
    if name != "Categorical":
        apart = Blend(WEIGHTS, parts)
        for function in functions:
            torch.testing.assert_close(function(apart, y), function(want, y), rtol=1e-8, atol=1e-9)


def test_two_kinds_are_two_parts():
    normal, mixed = dist.Normal(A, B), linear_pool(dist.Normal(PAIRS[1], 1.0))
    found = blend(WEIGHTS, [normal, LogNormal(A, B), mixed])
    assert repr(found) == "Blend(Mixture, LogNormal; batch_shape=(5,), event_shape=())"
    assert [part.mixture_distribution.probs.shape[-1] for part in found.parts[:1]] == [3]
    torch.testing.assert_close(found.weights, torch.stack([WEIGHTS[:, 0] + WEIGHTS[:, 2], WEIGHTS[:, 1]], -1))
    y = torch.ones(N).double()
    apart = Blend(WEIGHTS, [normal, LogNormal(A, B), mixed])
    torch.testing.assert_close(nll(found, y), nll(apart, y), rtol=1e-13, atol=0)
    # blends among the parts are taken apart
    again = blend(torch.tensor([0.5, 0.5]).double(), [found, dist.Normal(B, A)])
    assert [type(part) for part in again.parts] == [Mixture, LogNormal]
    torch.testing.assert_close(again.cdf(y), 0.5 * found.cdf(y) + 0.5 * dist.Normal(B, A).cdf(y))


def test_one_part_is_itself():
    normal = dist.Normal(A, B)
    assert blend(torch.ones(1), [normal]) is normal


def test_members_known_by_other_parameters_are_of_one_kind():
    logits = torch.zeros(N).double()
    parts = [NegativeBinomial(A, logits=logits), NegativeBinomial(B, probs=torch.full((N,), 0.25).double())]
    found = blend(even(2), parts)
    assert type(found) is Mixture
    k = torch.arange(N).double()
    want = (0.5 * (parts[0].log_prob(k).exp() + parts[1].log_prob(k).exp())).log()
    torch.testing.assert_close(found.log_prob(k), want)


def test_a_linear_pool_of_blends_is_a_blend():
    rows, w = torch.stack([A, B], -1), torch.tensor([0.3, 0.7]).double()
    inner = torch.stack([WEIGHTS[:, :2], WEIGHTS[:, 1:]], -2)
    inner = inner / inner.sum(-1, keepdim=True)
    blended = Blend(inner, [dist.Normal(rows, 1.0), LogNormal(rows, rows)])
    found = linear_pool(blended, w)
    assert type(found) is Blend
    y = torch.linspace(-1, 3, N).double()
    want = (blended.cdf(y[:, None]) * w).sum(-1)
    torch.testing.assert_close(found.cdf(y), want)
    torch.testing.assert_close(found.mean, (blended.mean * w).sum(-1))


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_several_targets_are_mixed_jointly():
    one = Independent(dist.Normal(torch.stack([A, B], -1), 1.0), 1)
    other = Independent(LogNormal(torch.stack([C, D], -1), 0.5 * torch.ones(N, 2).double()), 1)
    blended = blend(WEIGHTS[:, :2] / WEIGHTS[:, :2].sum(-1, keepdim=True), [one, other])
    w = blended.weights
    y = torch.stack([A, C], -1)
    assert blended.event_shape == (2,)
    joint = torch.logsumexp(w.log() + torch.stack([one.log_prob(y), other.log_prob(y)], -1), -1)
    torch.testing.assert_close(blended.log_prob(y), joint)
    scores = []
    for j in range(2):
        alone = Blend(
            w,
            [
                dist.Normal(one.base_dist.loc[:, j], 1.0),
                LogNormal(other.base_dist.loc[:, j], 0.5 * torch.ones(N).double()),
            ],
        )
        torch.testing.assert_close(blended.cdf(y)[:, j], alone.cdf(y[:, j]))
        torch.testing.assert_close(blended.mean[:, j], alone.mean)
        torch.testing.assert_close(blended.variance[:, j], alone.variance)
        q = torch.full((N, 2), 0.3).double()
        torch.testing.assert_close(blended.icdf(q)[:, j], alone.icdf(q[:, j]))
        scores.append(crps(alone, y[:, j]))
    torch.testing.assert_close(crps(blended, y), torch.stack(scores).mean(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = blended.sample((20_000,))
    torch.testing.assert_close(draws.mean(0), blended.mean, rtol=0.1, atol=0.1)
    # the targets of one draw come of one part
    covariance = ((draws - draws.mean(0)).prod(-1)).mean(0)
    means = torch.stack([one.mean, other.mean], 1)
    want = (w * (means - blended.mean[:, None]).prod(-1)).sum(-1)
    torch.testing.assert_close(covariance, want, rtol=0.15, atol=0.1)
    assert coverage(blended, y, 0.9).shape[0] == N


def test_rows_are_taken_joined_and_kept():
    blended, y = three(), torch.tensor([-1.0, 0.0, 0.5, 1.0, 4.0]).double()
    places = torch.tensor([4, 0, 0])
    some = select(blended, places, 1)
    torch.testing.assert_close(some.log_prob(y[places]), blended.log_prob(y)[places])
    parts = [select(blended, rows, 1) for rows in (torch.tensor([3, 0]), torch.tensor([1, 4, 2]))]
    whole = concatenate(parts, [torch.tensor([3, 0]), torch.tensor([1, 4, 2])])
    assert type(whole) is Blend
    torch.testing.assert_close(crps(whole, y), crps(blended, y))
    again = pickle.loads(pickle.dumps(blended))
    assert torch.equal(again.log_prob(y), blended.log_prob(y))
    wider = blended.expand((2, N))
    assert wider.batch_shape == (2, N)
    torch.testing.assert_close(wider.cdf(y), blended.cdf(y).expand(2, N))
    assert wider.sample((3,)).shape == (3, 2, N)
    scalar = Blend(even(2), [dist.Normal(torch.tensor(0.0).double(), 1.0), LogNormal(*torch.ones(2).double())])
    assert scalar.sample().shape == ()
    assert scalar.sample((4,)).shape == (4,)
    assert scalar.icdf(torch.tensor(0.5).double()).shape == ()
    pair = blend(even(3), [dist.Normal(torch.tensor(0.0).double(), 1.0)] * 2 + [LogNormal(*torch.ones(2).double())])
    assert pair.cdf(torch.tensor(0.0).double()).item() == pytest.approx(1 / 3)
    none = blend(even(2), [dist.Normal(A[:0], B[:0]), LogNormal(A[:0], B[:0])])
    assert crps(none, y[:0]).shape == none.sample((3,))[0].shape == none.icdf(y[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("parts", "ends"),
    [
        ([dist.Normal(A, B), Gamma(A, B)], (-np.inf, np.inf)),
        ([Gamma(A, B), LogNormal(A, B)], (0.0, np.inf)),
        ([Beta(A, B), LogNormal(A, B)], (0.0, np.inf)),
        ([Beta(A, B), dist.Uniform(torch.zeros(N).double(), 2.0)], (-np.inf, 2.0)),
        ([Poisson(A), NegativeBinomial(A, logits=B)], (0.0, np.inf)),
        ([dist.Binomial(3, probs=A / 4), Poisson(A)], (0.0, np.inf)),
    ],
)
def test_the_support_is_between_the_ends_of_all_parts(parts, ends):
    found = Blend(even(2), parts)
    assert tuple(end.item() for end in support_ends(found)) == ends
    assert bool(found.support.check(parts[1].sample()).all())


# -- what is no blend --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "parts", "error", "message"),
    [
        (
            even(2),
            [dist.Normal(A, B), 3],
            TypeError,
            "`parts` must be torch or Pyro distributions; got int. See probmix.adapters.",
        ),
        (
            even(1),
            [],
            ValueError,
            "`parts` must be one at least, and all of one batch and event shape; got the shapes [].",
        ),
        (
            even(2),
            [dist.Normal(A, B), dist.Normal(A[:2], B[:2])],
            ValueError,
            "`parts` must be one at least, and all of one batch and event shape; got the shapes [((5,), ()), ((2,), "
            "())].",
        ),
        (
            even(2),
            [dist.Normal(A, B), Poisson(A)],
            ValueError,
            "`parts` must all be of counts, or none; got Poisson, of counts, beside Normal, which has a density: "
            "probabilities and densities have no common unit.",
        ),
        (
            [0.5, 0.5],
            [dist.Normal(A, B)] * 2,
            TypeError,
            "`weights` must be a tensor of floats; got list. Pass torch.as_tensor(weights).double().",
        ),
        (
            even(3),
            [dist.Normal(A, B)] * 2,
            ValueError,
            "`weights` must hold one number for each of the 2 parts along the last axis, shape (2,) or (5, 2); got "
            "(3,).",
        ),
        (
            torch.tensor([0.5, 0.7]),
            [dist.Normal(A, B)] * 2,
            ValueError,
            "`weights` must sum to 1 over dim -1; largest |sum - 1| was 0.2. Pass softmax(w).",
        ),
        (
            even(2),
            [Categorical(logits=torch.zeros(N, 2)), Categorical(logits=torch.zeros(N, 3))],
            ValueError,
            "`parts` must be of as many classes; got [2, 3].",
        ),
    ],
    ids=["no distribution", "none", "shapes", "counts", "list", "number", "simplex", "classes"],
)
@pytest.mark.parametrize("make", [blend, Blend])
def test_what_is_no_blend(make, weights, parts, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make(weights, parts)


def test_a_blend_of_what_has_no_density_has_none():
    quantiles = QuantileFunction(torch.stack([A, A + B], -1), [0.2, 0.7])
    found = blend(even(2), [quantiles, dist.Normal(A, B)])
    with pytest.raises(NotImplementedError):
        marginal_nll(found, A)
    assert icdf(found, torch.full((N,), 0.4).double()).isfinite().all()
