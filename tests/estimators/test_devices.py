"""Families, distributions and losses on a GPU that any machine has: no tensor is made elsewhere, and nothing waits.

See pretend_device.py. What only a real GPU tells is marked `cuda` elsewhere: that its arithmetic agrees with the CPU's.
"""

import contextlib
from dataclasses import replace

import pytest
import torch
from mixup_cases import LOSS_PRESETS
from pretend_device import GPU, MixedDevicesError, PretendDevice, on_host
from torch import nn

from probmix import NaturalHead, families, mixup
from probmix.distributions import blend, cdf, icdf
from probmix.mixup import (
    BatchNeighbours,
    ClassBalanced,
    DistanceKernel,
    GraphPartners,
    LabelKernel,
    NearestNeighbours,
    WithinDistance,
    mixup_loss,
    preset,
    preset_names,
)
from probmix.networks import GaussianEmbedding
from probmix.random import KeyedRandom, member_keys
from probmix.scores import crps

OPTIONS = {"categorical": {"num_classes": 3}, "multivariate-gaussian": {"num_targets": 2}}
over_families = pytest.mark.parametrize("name", families.names())

# Where the host may wait, and why. Nothing else does: "validation" is torch's look at the arguments of a distribution.
DOOR = {
    "families/tools.check_support": "targets are checked before they are used",
    "families/histogram._warn_of_targets_beyond": "and whether they are among bins that nothing was set by",
}
LOSS_DOOR = DOOR | {
    "mixup/loss._check_rows": "so are weights and partners",
    "mixup/loss._checked_exposure": "and exposures",
    "mixup/loss.mixup_loss": "one of several layers is drawn",
    "mixup/loss._mean": "groups must have weight",
    "mixup/partners.": "neighbours are found on the host",
    "mixup/distance_partners.": "these too",
    "mixup/row_graph.": "and graphs",
    "mixup/graph_partners.": "also those of one's own",
    "mixup/classes.": "which classes there are",
    "mixup/kernel_boxes.": "how many rows are in each box",
}
# Iterations end when all rows have converged, which somebody has to ask.
START = {
    "hurdle-poisson": "distributions/",
    "hurdle-negative-binomial": "distributions/",
    "zero-inflated-poisson": "distributions/",
    "zero-inflated-negative-binomial": "distributions/",
    "student-t": "families/student_t",
    "tweedie": "families/tweedie",
}
SAMPLED_BY_QUANTILES = {"hurdle-poisson", "hurdle-negative-binomial"}


def family_of(name):
    return families.get(name, **OPTIONS.get(name, {}))


def waits(device, allowed=()):
    """Places that waited, without those that may."""
    found = {wait.split(": ")[0] for wait in device.waits if not wait.endswith(": validation")}
    device.waits.clear()
    return sorted(place for place in found if not place.startswith(tuple(allowed)))


@pytest.fixture
def gpu():
    with PretendDevice() as device:
        yield device


# -- the pretended device itself ---------------------------------------------------------------------------------------


def test_tensors_say_where_they_are(gpu):
    here, there = torch.zeros(3), torch.ones(3, device="cuda")
    assert (here.device.type, there.device, there.is_cuda) == ("cpu", GPU, True)
    assert (there + 1).device == there.double().device == torch.zeros_like(there).device == GPU
    assert here.to(there).device == here.to("cuda", torch.float64).device == here.to(device=GPU).device == GPU
    assert here.device.type == there.cpu().device.type == "cpu"
    assert nn.Linear(3, 2).to("cuda").weight.device == GPU
    weight = there.clone().requires_grad_()
    (weight * there).sum().backward()
    assert weight.grad.device == GPU


def test_what_a_gpu_refuses_is_refused(gpu):
    here, there = torch.zeros(3), torch.ones(3, device="cuda")
    for mix in (
        lambda: here + there,
        lambda: torch.where(there > 0, there, here),
        lambda: torch.stack([there.sum(), torch.tensor(1.0)]),
        lambda: nn.Linear(3, 2)(there),
    ):
        with pytest.raises(MixedDevicesError):
            mix()
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        there.numpy()
    # a number of the host is welcome everywhere
    assert (there * torch.tensor(2.0)).device == GPU
    assert there[torch.tensor([0, 1])].device == GPU


class Constants(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * torch.ones(gradient.shape)


def test_what_a_gradient_makes_on_the_host_is_found(gpu):
    x = torch.zeros(3, device="cuda", requires_grad=True)
    with pytest.raises(MixedDevicesError):
        Constants.apply(x).sum().backward()


def test_waits_are_written_down(gpu):
    there = torch.ones(3, device="cuda")
    for wait in (
        lambda: bool((there > 0).all()),
        lambda: there.sum().item(),
        lambda: float(there[0]),
        lambda: there[there > 0],
        lambda: there.nonzero(),
        lambda: there.cpu(),
        lambda: torch.equal(there, there),
        lambda: there.tolist(),
    ):
        wait()
        assert len(gpu.waits) == 1
        gpu.waits.clear()
    families.get("gamma").check_targets(there)
    assert gpu.places() == ["families/tools.check_support"]
    gpu.waits.clear()
    bool(torch.zeros(3).any())
    assert not gpu.waits


# -- families and their distributions ----------------------------------------------------------------------------------


@over_families
def test_families_stay_on_the_device_and_never_wait(gpu, name):
    family = family_of(name)
    raw = torch.randn(5, family.num_raw).to("cuda").requires_grad_()
    eta = family.constrain(raw)
    y = family.distribution(eta.detach()).sample()
    assert y.device == GPU
    gpu.waits.clear()
    pairs = torch.stack([y, y.flip(0)], -1)
    weights = torch.tensor([0.3, 0.7]).to("cuda").expand(5, 2)
    weights = weights if y.ndim == 1 else weights.unsqueeze(1)
    pools = ["log-linear", "linear"] if family.pools_log_linearly else ["linear"]
    found = [family.log_prob(eta, y), family.expected_nll(eta, family.point_label(y)), family.unconstrain(eta)]
    found += [family.expected_nll(eta, family.pool_labels(pairs, weights, 0.0, pool)) for pool in pools]
    if isinstance(family, families.ExponentialFamily):
        found += [family.mean_params(eta), family.log_normalizer(eta)]
    elif family.pools_log_linearly:
        found.append(family.pool_params(torch.stack([eta, eta.flip(0)], 1)))
    assert waits(gpu) == []
    for one in found:
        assert one.device == GPU
        (gradient,) = torch.autograd.grad(one.sum(), raw, retain_graph=True)
        assert not on_host(gradient)
    found[1].sum().backward()
    assert waits(gpu) == []


@over_families
def test_units_exposures_and_the_start_of_a_fit(gpu, name):
    family = family_of(name)
    eta = family.constrain(torch.randn(5, family.num_raw).to("cuda"))
    y = family.distribution(eta).sample()
    gpu.waits.clear()
    scaler = family.scaler(y)
    assert scaler.transform(y).device == family.rescale(eta, scaler).device == GPU
    with contextlib.suppress(ValueError):  # most families have none
        assert family.expose(eta, torch.zeros(5, device="cuda")).device == GPU
    assert waits(gpu) == []
    assert family.marginal_params(y).device == GPU
    # once for a fit
    assert waits(gpu, [START[name]] if name in START else []) == []
    family.check_targets(y)
    assert waits(gpu, DOOR) == []


@over_families
def test_predicted_distributions(gpu, name):
    family = family_of(name)
    distribution = family.distribution(family.constrain(torch.randn(5, family.num_raw).to("cuda")))
    y = distribution.sample(torch.Size([3]))
    assert y.device == GPU
    allowed = ["distributions/"] if name in SAMPLED_BY_QUANTILES else []
    assert waits(gpu, allowed) == []
    for one in (distribution.log_prob(y), distribution.mean, distribution.variance):
        assert one.device == GPU
    if family.event_dim:
        return
    assert cdf(distribution, y).device == GPU
    # torch's own variance of Student's t assigns by masks
    assert waits(gpu, ["elsewhere"] if name == "student-t" else []) == []
    # quantiles are iterations
    assert icdf(distribution, torch.full((5,), 0.3, device="cuda", dtype=torch.float64)).device == GPU
    assert waits(gpu, ["distributions/"]) == []


# -- losses ------------------------------------------------------------------------------------------------------------


def loss_of(name, mixing, loss="nll", laws=None, **given):
    """The loss of a network with rows that are mixed, and its gradient, after its forward pass."""
    family, layers = family_of(name), any(word in mixing for word in ("manifold", "m-probmix"))
    mix = preset(mixing, at="0") if layers else preset(mixing)
    mix = replace(mix, **(laws or {}))
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), NaturalHead(family, 8)).to("cuda")
    embedding = None if mix.embedding == "point" else GaussianEmbedding(8, mix.embedding, 2).to("cuda")
    x = torch.randn(12, 2).to("cuda")
    y = family.distribution(family.constrain(torch.randn(12, family.num_raw))).sample().to("cuda")
    value = mixup_loss(network, family, x, y, mix, embedding=embedding, loss=loss, **given)
    value.backward()
    assert value.device == network[0].weight.grad.device == GPU


@over_families
def test_losses_of_every_preset_wait_at_the_door_only(gpu, name):
    for mixing in LOSS_PRESETS:
        loss_of(name, mixing)
        assert waits(gpu, LOSS_DOOR) == [], mixing
    loss_of(name, "probmix", sample_weight=torch.rand(12).to("cuda"))
    assert waits(gpu, LOSS_DOOR) == []


@pytest.mark.parametrize("name", [name for name in families.names() if not family_of(name).event_dim])
def test_the_ranked_probability_stays_on_the_device(gpu, name):
    for mixing in ("erm", "mixup", "probmix", "m-probmix"):
        loss_of(name, mixing, "crps")
        # integrals and sums say how far they go
        assert waits(gpu, [*LOSS_DOOR, "distributions/", "pooling.check_weights"]) == [], mixing


PARTNERS = [
    LabelKernel(),
    DistanceKernel(),
    WithinDistance(1.0),
    BatchNeighbours(k=3),
    BatchNeighbours(radius=1.0),
    GraphPartners(range(13), [(row + 1) % 12 for row in range(12)]),
]


@pytest.mark.parametrize("law", [*PARTNERS[:-1], ClassBalanced(), NearestNeighbours(3)], ids=repr)
def test_partners_are_drawn_on_the_device_without_waiting(gpu, law):
    x = [torch.randn(n, 2).to("cuda") for n in (40, 41)]
    y = [one[:, 0].round() for one in x]
    prepared = law.prepare(x, y)
    assert waits(gpu, LOSS_DOOR) == []
    rows = torch.randint(40, (2, 12)).to("cuda")
    numbers = KeyedRandom(member_keys(0, 2).to("cuda"))
    assert prepared.draw(rows, numbers.uniform, 3).device == GPU
    assert prepared.members(torch.tensor([1, 0]).to("cuda")).draw(rows, numbers.uniform, 3).device == GPU
    assert waits(gpu) == []


def test_proposals_of_many_rows_wait_once_a_draw_for_each_round(gpu):
    y = torch.randn(600).to("cuda")
    prepared = LabelKernel().prepare([y.unsqueeze(-1)], [y])
    numbers = KeyedRandom(member_keys(0, 1).to("cuda"))
    assert prepared.draw(torch.arange(600).unsqueeze(0).to("cuda"), numbers.uniform, 1).device == GPU
    assert set(
        waits(
            gpu,
        )
    ) == {"mixup/kernel_draws._draw"}


WEIGHTS = [
    mixup.DirichletWeights(), mixup.FoldedBetaWeights(), mixup.WWeights(), mixup.UniformWeights(), mixup.FixedWeights(),
    mixup.TwoPointWeights(), mixup.SimilarityWeights(),
]  # fmt: skip


@pytest.mark.parametrize("law", WEIGHTS, ids=repr)
def test_weights_are_drawn_on_the_device_without_waiting(gpu, law):
    loss_of("gaussian", "probmix", laws={"weights": law})
    assert waits(gpu, LOSS_DOOR) == []


@pytest.mark.parametrize("law", PARTNERS, ids=repr)
def test_losses_of_every_law_of_partners_wait_at_the_door_only(gpu, law):
    for name in ("gaussian", "poisson", "categorical"):
        loss_of(name, "probmix", laws={"partners": law})
        assert waits(gpu, LOSS_DOOR) == [], name


def test_every_law_of_a_mixup_is_among_the_presets():
    """A partner or weight law that no preset has would be run by nothing here, but for those above."""
    laws = [law for name in preset_names() for law in (preset(name).weights, preset(name).partners)]
    names = [one for one in mixup.__all__ if one.endswith(("Weights", "Partners", "Neighbours", "Kernel", "Distance"))]
    names.remove("PreparedPartners")
    assert {getattr(mixup, one) for one in names} <= {type(law) for law in [*laws, *PARTNERS, *WEIGHTS]}


# -- mixtures of different kinds ---------------------------------------------------------------------------------------


def test_blends(gpu):
    one = torch.ones(5, device="cuda")
    parts = [families.get(name).distribution(torch.stack([one, -one], -1)) for name in ("gaussian", "lognormal")]
    found = blend(torch.tensor([0.5, 0.5], device="cuda"), parts)
    y = found.sample(torch.Size([3]))
    for value in (y, found.log_prob(y), found.mean, found.variance, cdf(found, y), crps(found, y[0])):
        assert value.device == GPU
    assert icdf(found, torch.full((5,), 0.3, device="cuda", dtype=torch.float64)).device == GPU
    assert waits(gpu, ["distributions/", "_targets.check_finite", "elsewhere"]) == []
