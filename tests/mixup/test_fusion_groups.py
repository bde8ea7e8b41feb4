"""Groups of any number of rows at a layer, as points and as densities."""

import pytest
import torch
from fusion_zoo import VECTOR, Residual, seeded
from mixup_cases import generator
from torch import nn
from torch.distributions import Normal

from probmix import fuse_at, log_linear_pool, mixup_loss
from probmix.families import Gaussian
from probmix.mixup import Mixup
from probmix.pairs import draw, mix_rows

N, B, MEMBERS = 7, 4, 3


def groups(k, leading=(), dtype=torch.float64):
    """Partners (*L, B, K - 1) among N rows, and weights (*L, B, K)."""
    partners = torch.randint(N, (*leading, B, k - 1), generator=generator())
    return partners, torch.randn(*leading, B, k, generator=generator(1), dtype=dtype).softmax(-1)


def expected_mean(values, partners, weights):
    """Entry by entry."""
    if partners.ndim == 3:
        return torch.stack([expected_mean(*entry) for entry in zip(values, partners, weights, strict=True)])
    rows = [[b, *partners[b].tolist()] for b in range(len(partners))]
    return torch.stack([sum(w * values[j] for w, j in zip(weights[b], rows[b], strict=True)) for b in range(len(rows))])


class Along(nn.Module):
    """Rows of steps, (N, T, F), to a layer that has them in another form."""

    def __init__(self, form):
        super().__init__()
        self.form, self.layer = form, nn.Identity()

    def forward(self, x):
        return self.layer(self.form(x))


@pytest.mark.parametrize("steps", [5, 6, 9])
@pytest.mark.parametrize("mixed", [2, 4])
def test_a_layer_that_has_steps_in_place_of_rows_is_an_error(steps, mixed):
    """Steps would be mixed, in silence where there are more of them than rows."""
    x, partners = torch.randn(4, steps, 3, generator=generator()), torch.arange(mixed)
    weights = torch.full((mixed, 2), 0.5)
    message = rf"^the layer 'layer' gives {steps} rows along dim 0, and not the 4 that the module is given\."
    module = Along(lambda x: x.transpose(0, 1))
    with pytest.raises(ValueError, match=message), fuse_at(module, "layer", partners, weights):
        module(x)
    network = nn.Sequential(module, nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(ValueError, match=message.replace("'layer'", "'0.layer'")):
        mixup_loss(network, "gaussian", x, torch.zeros(4), Mixup("0.layer"), partners=partners)
    with fuse_at(module, "layer", partners, weights, batch_dim=1):
        assert module(x).shape == (steps, mixed, 3)
    folded = Along(lambda x: x.flatten(0, 1))
    with (
        pytest.raises(ValueError, match=rf"gives {4 * steps} rows along dim 0, and not the 4"),
        fuse_at(folded, "layer", partners, weights),
    ):
        folded(x)


def test_rows_that_a_module_doubles_are_mixed_where_each_has_partners():
    module, x = Along(lambda x: torch.cat([x, -x])), torch.randn(3, 2, generator=generator())
    partners, weights = torch.tensor([5, 4, 3, 2, 1, 0]), torch.tensor([[0.25, 0.75]]).expand(6, 2)
    with fuse_at(module, "layer", partners, weights):
        torch.testing.assert_close(module(x)[0], 0.25 * x[0] - 0.75 * x[2])


def test_members_may_be_made_inside_of_a_module():
    module, x = Along(lambda x: x.expand(MEMBERS, *x.shape)), torch.randn(N, 2, generator=generator())
    partners, weights = groups(2, (MEMBERS,), torch.float32)
    with fuse_at(module, "layer", partners, weights):
        torch.testing.assert_close(module(x), expected_mean(x.expand(MEMBERS, N, 2), partners, weights))


def test_the_third_weight_counts():
    rows, identity = torch.tensor([[1.0], [10.0], [100.0]]), nn.Identity()
    with fuse_at(identity, "output", torch.tensor([[1, 2]]), torch.tensor([[0.2, 0.3, 0.5]])):
        assert identity(rows).item() == pytest.approx(53.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("leading", [(), (MEMBERS,)])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("trailing", [(2,), (2, 3)])
def test_the_output_is_the_weighted_mean_of_the_group(k, leading, trailing, dtype):
    partners, weights = groups(k, leading, dtype)
    values = torch.randn(*leading, N, *trailing, generator=generator(2), dtype=dtype)
    identity = nn.Identity()
    with fuse_at(identity, "output", partners, weights):
        torch.testing.assert_close(identity(values), expected_mean(values, partners, weights))


@pytest.mark.parametrize("leading", [(), (MEMBERS,)])
def test_groups_of_two_are_pairs_bit_for_bit(leading):
    partners, weights = groups(2, leading, torch.float32)
    values = torch.randn(*leading, N, 2, generator=generator(2))
    assert torch.equal(mix_rows(values, partners, weights), mix_rows(values, partners.squeeze(-1), weights))
    precision = values.exp()
    results = [draw(values, precision, which, weights, torch.ones) for which in (partners, partners.squeeze(-1))]
    assert torch.equal(*results)


@pytest.mark.parametrize("leading", [(), (MEMBERS,)])
@pytest.mark.parametrize("k", [3, 5])
def test_densities_are_pooled_log_linearly(k, leading):
    """The pool of the Gaussians, as `log_linear_pool` of their natural parameters has it."""
    partners, weights = groups(k, leading)
    mean = torch.randn(*leading, N, 2, generator=generator(2), dtype=torch.float64)
    scale = torch.randn(*leading, N, 2, generator=generator(3), dtype=torch.float64).exp()
    own = torch.arange(B).expand(*leading, B).unsqueeze(-1)
    rows = torch.cat([own, partners], -1)

    def of_group(values):
        if not leading:
            return values[rows]
        return torch.stack([one[index] for one, index in zip(values, rows, strict=True)])

    gaussian = Gaussian()
    eta = gaussian.natural_params(Normal(of_group(mean), of_group(scale))).transpose(-2, -3)
    pool = gaussian.distribution(log_linear_pool(eta, weights.unsqueeze(-2)))
    identity = nn.Identity()
    for noise, expected in ((None, pool.mean), (torch.ones, pool.mean + pool.stddev)):
        with fuse_at(identity, "output", partners, weights, embedding=lambda *_: scale**-2, noise=noise):
            torch.testing.assert_close(identity(mean), expected)


def test_one_point_and_two_nearly_flat_densities():
    mean, precision = torch.tensor([[0.0], [1e4], [1e4]]), torch.tensor([[1e6], [1e-6], [1e-6]])
    weights = torch.tensor([[0.0, 0.5, 0.5]])
    drawn = draw(mean, precision, torch.tensor([[1, 2]]), weights, torch.zeros)
    assert drawn.item() == pytest.approx(1e4, rel=1e-5)


def test_gradients_are_those_of_finite_differences():
    partners, weights = groups(3)
    weights = weights.requires_grad_()
    mean = torch.randn(N, 2, generator=generator(2), dtype=torch.float64, requires_grad=True)
    precision = torch.rand(N, 2, generator=generator(3), dtype=torch.float64).add_(0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, w: mix_rows(m, partners, w), (mean, weights))
    assert torch.autograd.gradcheck(lambda m, p, w: draw(m, p, partners, w, torch.ones), (mean, precision, weights))


def test_groups_at_a_layer_of_a_network():
    module, x = seeded(Residual), torch.randn(N, *VECTOR, generator=generator())
    partners, weights = groups(3, dtype=torch.float32)
    seen = []
    handle = module.block.register_forward_hook(lambda *arguments: seen.append(arguments[2]))
    module(x)
    handle.remove()
    with fuse_at(module, "block", partners, weights):
        handle = module.block.register_forward_hook(lambda *arguments: seen.append(arguments[2]))
        with pytest.raises(RuntimeError, match="size of tensor"):  # the shortcut has all N rows
            module(x)
        handle.remove()
    torch.testing.assert_close(seen[1], expected_mean(seen[0], partners, weights))


PAIRS = torch.tensor([1, 0])
HALVES = torch.tensor([[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("partners", "weights", "message"),
    [
        (PAIRS, torch.tensor([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]),
         r"`partners` must be int64 of shape \(2, 2\) for weights of shape \(2, 3\), whose first column is the row's "
         r"own; got torch.int64 of shape \(2,\)\."),
        (torch.tensor([[1], [0], [0]]), HALVES,
         r"`partners` must be int64 of shape \(2, 1\) or \(2,\) for weights of shape \(2, 2\), whose first column is "
         r"the row's own; got torch.int64 of shape \(3, 1\)\."),
        (PAIRS.int(), HALVES, r"got torch.int32 of shape \(2,\)\.$"),
        (1, torch.tensor([[0.2, 0.3, 0.5]]),
         r"`weights` must have shape \(B, 2\) or \(M, B, 2\) where `partners` is 1, with a column for the row itself "
         r"and one for each number; got \(1, 3\)\."),
        ((1, 2), HALVES, r"`weights` must have shape \(B, 3\) or \(M, B, 3\) where `partners` is \(1, 2\), with a"),
        (PAIRS, torch.tensor([0.5, 0.5]), r"`weights` must have shape \(B, K\) or \(M, B, K\); got \(2,\)\."),
        (PAIRS, 2 * HALVES, r"`weights` must sum to 1 over dim -1; largest \|sum - 1\| was 1\. Pass softmax\(w\)\."),
        (PAIRS, torch.tensor([[1.5, -0.5], [1.0, 0.0]]), r"`weights` must be non-negative; smallest was -0\.5\."),
        (torch.tensor([1, 2]), HALVES,
         r"`partners` must be row numbers from 0 to 1; they go from 1 to 2\. Stack partners from outside the batch "
         r"under it\."),
        (torch.tensor([[1, 0], [1, -1]]), HALVES.expand(2, 2, 2), r"`partners` must be row numbers from 0 to 1; they"),
    ],
)  # fmt: skip
def test_errors(partners, weights, message):
    identity = nn.Identity()
    with pytest.raises(ValueError, match=message), fuse_at(identity, "output", partners, weights):
        identity(torch.zeros(*weights.shape[:-2], 2, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_are_on_the_simplex_to_the_precision_of_their_format(dtype):
    weights, identity = torch.rand(64, 5, generator=generator()).softmax(-1).to(dtype), nn.Identity()
    partners = torch.randint(64, (64, 4), generator=generator())
    with fuse_at(identity, "output", partners, weights):
        assert identity(torch.ones(64, 1, dtype=dtype)).float().sub(1).abs().max() < 5 * torch.finfo(dtype).eps


def test_weights_inside_vmap_are_not_looked_at():
    def fused(values, weights):
        identity = nn.Identity()
        with fuse_at(identity, "output", torch.tensor([[1, 2]]), weights):
            return identity(values)

    values, weights = torch.randn(4, 3, 2, generator=generator()), groups(3, dtype=torch.float32)[1].unsqueeze(1)
    expected = torch.stack([fused(*one) for one in zip(values, weights, strict=True)])
    torch.testing.assert_close(torch.vmap(fused)(values, weights), expected)


@pytest.mark.parametrize("shifts", [3, (3,), (1, 4), (2, 2, 0)])
@pytest.mark.parametrize("members", [(), (3,)])
def test_shifts_are_the_rows_so_many_places_further_on(shifts, members):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(*members, 5, 2, generator=generator, dtype=torch.float64)
    places = torch.tensor([shifts] if isinstance(shifts, int) else shifts)
    partners = ((torch.arange(5).unsqueeze(-1) + places) % 5).expand(*members, 5, -1)
    weights = torch.rand(*members, 5, len(places) + 1, generator=generator, dtype=torch.float64).softmax(-1)
    assert torch.equal(mix_rows(values, shifts, weights), mix_rows(values, partners, weights))
    precision, noise = values.square() + 0.1, torch.randn(values.shape, generator=generator, dtype=torch.float64)
    for source in (None, lambda _: noise):
        drawn = draw(values, precision, shifts, weights, source)
        torch.testing.assert_close(drawn, draw(values, precision, partners, weights, source), rtol=1e-13, atol=1e-13)
    identity = nn.Identity()
    with fuse_at(identity, "output", shifts, weights):
        assert torch.equal(identity(values), mix_rows(values, partners, weights))
