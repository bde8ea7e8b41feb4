"""What hurdles and zero-adjusted distributions share: a base and a gate of one shape, also when they are expanded."""

import pytest
import torch

from probmix.distributions import Gamma, Hurdle, Poisson, ZeroAdjusted

TWO = torch.tensor(2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", ["hurdle", "zero-adjusted"])
def test_base_and_gate_are_expanded_together(kind, dtype):
    gate = torch.tensor([[-1.0], [2.0]], dtype=dtype)
    rate = TWO.to(dtype)
    made = Hurdle(Poisson(rate), gate) if kind == "hurdle" else ZeroAdjusted(Gamma(rate, rate), gate)
    expanded = made.expand((3, 2, 4))
    assert type(expanded) is type(made)
    for part in (made, expanded):
        assert part.gate_logits.shape == part.base_dist.batch_shape == part.batch_shape
    assert expanded.batch_shape == (3, 2, 4)
    y = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=dtype)
    torch.testing.assert_close(expanded.log_prob(y), made.log_prob(y).expand(3, 2, 4), rtol=0, atol=0)
    for moment in ("mean", "variance"):
        torch.testing.assert_close(getattr(expanded, moment), getattr(made, moment).expand(3, 2, 4), rtol=0, atol=0)
