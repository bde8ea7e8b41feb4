"""The CRPS of mixtures of counts, stepped from one probability to the next."""

import pytest
import torch
from scipy import stats
from score_oracles import close

from probmix import linear_pool
from probmix.distributions import Independent, NegativeBinomial, Poisson, count_mixtures
from probmix.distributions.count_mixtures import crps_by_steps
from probmix.distributions.sums import sum_crps
from probmix.scores import crps, crps_with_bound


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(rows, members):
    w = uniform(rows, members, seed=9) ** 3
    w[::3, 0] = 0.0
    return w / w.sum(-1, keepdim=True)


COMPONENTS = {
    "poisson": lambda: Poisson(10 ** (4 * uniform(20, 5) - 2)),
    "negative binomial": lambda: NegativeBinomial.from_mean(
        10 ** (3 * uniform(20, 5) - 1.5), 10 ** (4 * uniform(20, 5, seed=1) - 3)
    ),
    "far up": lambda: NegativeBinomial.from_mean(10 ** (3 + uniform(20, 5)), 10 ** (2 * uniform(20, 5, seed=1) - 3)),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_it_is_the_sum_over_the_cdf(name):
    mixture = linear_pool(COMPONENTS[name](), weights(20, 5))
    mean = mixture.mean.round()
    for y in (mean, 3 * mean + 5, torch.zeros_like(mean), torch.full_like(mean, -2.0)):
        close(crps(mixture, y), sum_crps(mixture, y), 1e-9)
        value, bound = crps_with_bound(mixture, y)
        assert bool(((value - sum_crps(mixture, y)).abs() <= bound).all())


def test_against_scipy():
    r, p, w = [0.4, 3.0, 20.0], [0.05, 0.3, 0.6], [0.3, 0.3, 0.4]
    component = NegativeBinomial(torch.tensor(r, dtype=torch.float64), probs=1 - torch.tensor(p, dtype=torch.float64))
    mixture = linear_pool(component, torch.tensor(w, dtype=torch.float64))
    below = sum(v * stats.nbinom.cdf(range(2000), n, q) for v, n, q in zip(w, r, p, strict=True))
    for y in (0, 4, 60):
        want = (below[:y] ** 2).sum() + ((1 - below[y:]) ** 2).sum()
        assert crps(mixture, torch.tensor(float(y))).item() == pytest.approx(want, rel=1e-7 if y == 0 else 1e-9)


def test_rows_that_reach_far_up_or_start_from_nothing_are_left_to_the_general_sum():
    one = torch.ones(3, 1).double()
    rate = torch.tensor([[5.0], [700.0], [5.0]]).double()
    y = torch.tensor([4.0, 690.0, 4e6]).double()
    value, done = crps_by_steps(one, -rate, rate, 0 * rate, y)
    assert done.tolist() == [True, False, True]
    close(value[[0, 2]], crps(Poisson(rate[[0, 2], 0]), y[[0, 2]]), 1e-11)
    # a negative binomial of r = 1e-3 and a mean of a million
    share = torch.tensor([[1 - 1e-9]], dtype=torch.float64)
    _, done = crps_by_steps(one[:1], 1e-3 * (1 - share).log(), 1e-3 * share, share, one[0])
    assert done.tolist() == [False]


def test_blocks_targets_dtypes_gradients_and_no_rows(monkeypatch):
    component, w = COMPONENTS["negative binomial"](), weights(20, 5)
    y = linear_pool(component, w).mean.round()
    whole = crps(linear_pool(component, w), y)
    monkeypatch.setattr(count_mixtures, "_BLOCK", 15)
    close(crps(linear_pool(component, w), y), whole, 1e-13)
    narrow = NegativeBinomial(component.total_count.float(), logits=component.logits.float())
    assert crps(linear_pool(narrow, w.float()), y.float()).dtype == torch.float32
    several = linear_pool(Independent(Poisson(10 * uniform(4, 5, 3)), 1), w[:4])
    each = torch.stack([crps(linear_pool(Poisson(10 * uniform(4, 5, 3)[..., d]), w[:4]), y[:4]) for d in range(3)], -1)
    close(crps(several, y[:4].unsqueeze(-1).expand(4, 3)), each.mean(-1), 1e-12)
    rate = (5 * uniform(2, 3)).requires_grad_()
    score = crps(linear_pool(Poisson(rate)), torch.tensor([1.0, 4.0]))
    assert torch.autograd.grad(score.sum(), rate)[0].isfinite().all()
    none = linear_pool(Poisson(torch.ones(0, 3)))
    assert crps(none, torch.ones(0)).shape == (0,)
