"""Networks in half precision: the gradients are those of float32 to the precision of the format."""

import pytest
import torch
from mixup_cases import LOSS_PRESETS, generator
from torch import nn

from probmix import GaussianEmbedding, NaturalHead, families, mixup_loss
from probmix.mixup import preset
from probmix.pairs import draw

# Half the distance from one to the next number.
PRECISION = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
FORMATS = pytest.mark.parametrize("half", PRECISION, ids=str)
OPTIONS = {"categorical": {"num_classes": 3}, "multivariate-gaussian": {"num_targets": 2}}
WIDTH, ROWS = 16, 64


class Setting:
    """A network, the variance network of its layer "1", and a batch of a family."""

    def __init__(self, name):
        self.family = families.get(name, **OPTIONS.get(name, {}))
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Linear(3, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(),
                                         NaturalHead(self.family, WIDTH))  # fmt: skip
            self.embeddings = {
                "gaussian": GaussianEmbedding(WIDTH),
                "gaussian-separate": GaussianEmbedding(WIDTH, "gaussian-separate", in_features=3),
            }
            self.x = torch.randn(ROWS, 3)
            # of another network, so that gradients do not cancel
            raw = 1 + self.x @ torch.randn(3, self.family.num_raw)
            self.y = self.family.distribution(self.family.constrain(raw)).sample()

    def gradients(self, mixup, half=None, outright=False, loss="nll"):
        """The loss, and its gradient in all parameters; under autocast to `half`, or of modules that are cast to it."""
        mixup = preset(mixup) if preset(mixup).at in (None, "input", "output") else preset(mixup, at="1")
        modules = nn.ModuleList([self.network])
        if mixup.embedding != "point":
            modules.append(self.embeddings[mixup.embedding])
        kind = half if outright else torch.float32
        modules.to(kind).zero_grad()
        try:
            with torch.autocast("cpu", dtype=half or torch.bfloat16, enabled=half is not None and not outright):
                embedding = None if len(modules) == 1 else modules[1]
                value = mixup_loss(self.network, self.family, self.x.to(kind), self.y, mixup, embedding=embedding,
                                   generator=generator(), loss=loss)  # fmt: skip
            value.backward()
            return value.item(), torch.cat([one.grad.flatten().float() for one in modules.parameters()])
        finally:
            modules.float()


def assert_agree(setting, mixup, half, outright=False, loss="nll"):
    value, gradient = setting.gradients(mixup, half, outright, loss)
    exact_value, exact = setting.gradients(mixup, loss=loss)
    assert gradient.isfinite().all()
    # a dozen roundings of numbers of size one, to which shares of components are sensitive; smooth activations have no
    # side to change
    roundings = 30 if isinstance(setting.family, families.Mixture) else 20
    assert value == pytest.approx(exact_value, rel=10 * PRECISION[half], abs=10 * PRECISION[half])
    assert torch.dist(gradient, exact) <= roundings * PRECISION[half] * exact.norm(), (
        gradient - exact
    ).norm() / exact.norm()


@FORMATS
@pytest.mark.parametrize("name", families.names())
def test_gradients_under_autocast_are_those_of_float32(name, half):
    setting = Setting(name)
    for mixup in LOSS_PRESETS:
        assert_agree(setting, mixup, half)


@FORMATS
@pytest.mark.parametrize("name", families.names())
def test_gradients_of_modules_in_half_precision_are_those_of_float32(name, half):
    setting = Setting(name)
    for mixup in ("erm", "probmix", "manifold-mixup", "m-probmix", "m-probmix-star"):
        assert_agree(setting, mixup, half, outright=True)


@FORMATS
@pytest.mark.parametrize("name", ["gaussian", "poisson", "categorical", "gamma", "student-t"])
def test_gradients_of_the_crps_are_those_of_float32(name, half):
    for mixup in ("erm", "probmix", "m-probmix"):
        assert_agree(Setting(name), mixup, half, loss="crps")


@FORMATS
@pytest.mark.parametrize("name", families.names())
def test_links_see_float32(name, half):
    family = families.get(name, **OPTIONS.get(name, {}))
    raw = torch.linspace(-6e4, 6e4, 41).unsqueeze(-1).expand(-1, family.num_raw).to(half)
    eta = family.constrain(raw)
    assert eta.dtype == torch.float32
    assert eta.isfinite().all()
    assert torch.equal(eta, family.constrain(raw.float()))
    with torch.autocast("cpu", dtype=half):
        assert torch.equal(family.constrain(raw.float()), eta)


@FORMATS
def test_a_draw_with_a_precision_beyond_half_precision(half):
    mean, precision = torch.randn(4, 3, generator=generator()).to(half), torch.full((4, 3), 1e6)
    weights = torch.tensor([[0.25, 0.75]]).expand(4, 2)
    drawn = draw(mean, precision, torch.arange(3, -1, -1), weights, torch.zeros)
    assert drawn.dtype == half
    torch.testing.assert_close(drawn, (0.25 * mean.float() + 0.75 * mean.float().flip(0)).to(half))


@FORMATS
def test_a_training_step_of_ones_own_inside_autocast(half):
    setting = Setting("gamma")
    optimizer, losses = torch.optim.SGD(setting.network.parameters(), lr=0.01), []
    for _ in range(20):
        with torch.autocast("cpu", dtype=half):
            optimizer.zero_grad()
            loss = mixup_loss(setting.network, "gamma", setting.x, setting.y, "probmix", generator=generator())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert all(one.isfinite().all() for one in setting.network.parameters())
    assert losses[-1] < losses[0]
