"""The label kernel of C-Mixup, in law and exactly, for targets of every kind."""

import numpy as np
import pytest
import torch
from partner_cases import drawn, frequencies, generator, pvalue_of, random_of

from probmix.mixup import LabelKernel, kernel_draws

N = 200


def targets(kind):
    draw = np.random.default_rng(0)
    values = {
        "normal": lambda: draw.normal(size=N),
        "heavy tails": lambda: draw.standard_t(1.2, size=N),
        "ties": lambda: draw.normal(size=N).round(1),
        "counts": lambda: draw.poisson(2.0, size=N).astype(float),
        "constant": lambda: np.full(N, 0.1),
        "an outlier": lambda: np.append(draw.normal(size=N - 1), 40.0),
        "far from all": lambda: np.concatenate([draw.normal(size=N - 4), [4.0, 4.5, 5.0, 6.0]]),
        "large": lambda: 1e200 * (1 + draw.normal(size=N)),
        "offset": lambda: 1e9 + draw.normal(size=N),
        "two": lambda: draw.normal(size=(N, 2)) @ [[1.0, 0.0], [300.0, 100.0]],
        "three": lambda: draw.normal(size=(N, 3)),
        "one of two constant": lambda: np.stack([draw.normal(size=N), np.zeros(N)], 1),
    }
    return torch.from_numpy(values[kind]())


KINDS = [
    "normal", "heavy tails", "ties", "counts", "constant", "an outlier", "far from all", "large", "offset", "two",
    "three", "one of two constant",
]  # fmt: skip


def table(y, bandwidth):
    """Probabilities of all partners by the definition, (n, n)."""
    values = y.numpy().reshape(len(y), -1).astype(np.longdouble)
    values = values - values.mean(0)
    spread = np.sqrt((values**2).mean(0))
    values = values / np.where(spread > 1e-16 * np.abs(y.numpy()).max(), spread, 1)
    square = ((values[:, None] - values[None]) ** 2).sum(-1)
    kernel = np.exp(-square / (2 * bandwidth**2)).astype(float)
    return kernel / kernel.sum(1, keepdims=True)


@pytest.fixture(params=["by proposals", "among all", "after few proposals"])
def way(request, monkeypatch):
    """The ways in which partners are found; tests have too few rows for the first to be taken by itself."""
    if request.param != "among all":
        monkeypatch.setattr(kernel_draws, "_FEW", 0)
        monkeypatch.setattr(kernel_draws, "_PROPOSALS_PER_ROW", 1.0 if request.param == "by proposals" else 0.01)
    return request.param


@pytest.mark.parametrize("bandwidth", [0.03, 0.5, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_partners_follow_the_kernel(kind, bandwidth, way):
    y = targets(kind)
    partners = drawn(LabelKernel(bandwidth), y.reshape(N, -1), y, 600 if way == "by proposals" else 150)
    assert pvalue_of(partners, table(y, bandwidth)) > 1e-4


def test_proposals_are_enough_for_any_targets(monkeypatch):
    """No draw of one target takes more than a few dozen of them: at least exp(-2) of all in a window are accepted."""
    monkeypatch.setattr(kernel_draws, "_FEW", 0)
    asked = []
    log_kernel = kernel_draws.KernelPartners._log_kernel

    def counted(self, member, *rest):
        asked.append(len(member))
        return log_kernel(self, member, *rest)

    monkeypatch.setattr(kernel_draws.KernelPartners, "_log_kernel", counted)
    monkeypatch.setattr(kernel_draws, "_PROPOSALS_PER_ROW", 1.0)
    for kind in KINDS[:-3]:
        asked.clear()
        drawn(LabelKernel(0.3), torch.zeros(N, 1), targets(kind), 50)
        assert sum(asked) < 2.2 * 50 * N, kind


def test_large_tables_need_no_table_of_pairs():
    """As many rows as take a window each: no tensor has more numbers than a block, or than a few for each row."""
    n = 100_000
    y = torch.randn(n, dtype=torch.float64, generator=generator())
    partners = drawn(LabelKernel(0.2), y.unsqueeze(-1), y, 1).squeeze(1)
    assert partners.min() >= 0
    assert partners.max() < n
    # given the row the target of its partner is Gaussian where the targets are
    shrunk = y[partners] - y / (1 + 0.2**2)
    assert shrunk.std().item() == pytest.approx(0.2 / np.sqrt(1 + 0.2**2), rel=0.02)
    assert torch.corrcoef(torch.stack([shrunk, y]))[0, 1].item() == pytest.approx(0, abs=0.015)


def test_partners_of_gaussian_targets_are_as_near_as_the_docstring_says():
    y = torch.randn(20_000, dtype=torch.float64, generator=generator())
    partners = drawn(LabelKernel(), y.unsqueeze(-1), y, 1).squeeze(1)
    assert torch.cov(torch.stack([y, y[partners]]))[0, 1].item() / y.var().item() == pytest.approx(0.8, abs=0.01)
    assert (y - y[partners]).square().mean().sqrt().item() == pytest.approx(0.49, abs=0.01)


def test_bandwidth_is_in_standard_deviations_whatever_the_unit():
    y = targets("normal")
    first, other = (drawn(LabelKernel(0.5), y.unsqueeze(-1), one, 20) for one in (y, 1024 * y))
    assert torch.equal(first, other)


def test_classes_have_partners_of_their_class():
    y = torch.tensor([0, 1, 1, 2, 2, 2, 0, 2])
    partners = drawn(LabelKernel(0.5), torch.zeros(8, 1), y, 4000)
    same = (y[:, None] == y).double().numpy()
    assert pvalue_of(partners, same / same.sum(1, keepdims=True)) > 1e-4
    # and whole numbers that are no classes have a distance
    partners = drawn(LabelKernel(0.5), torch.zeros(8, 1), y.double(), 4000)
    assert (frequencies(partners, 8)[1, y == 0] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_single_row_is_its_own_partner(dtype):
    assert drawn(LabelKernel(0.5), torch.zeros(1, 1), torch.zeros(1, dtype=dtype), 3).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("few", [0, 30, 512])
def test_members_draw_what_they_would_alone(few, monkeypatch):
    """Also where some have so few rows that the kernel to all is computed, and others have not."""
    monkeypatch.setattr(kernel_draws, "_FEW", few)
    monkeypatch.setattr(kernel_draws, "_PROPOSALS_PER_ROW", 0.1)
    y = [torch.randn(n, 2, generator=generator(n)) for n in (25, 60, 31)]
    rows = torch.stack([torch.randperm(len(one), generator=generator())[:20] for one in y])
    random = random_of(3)
    joint = LabelKernel(0.2).prepare(y, y)
    first = joint.draw(rows, random.uniform, 4)
    for m in range(3):
        alone = LabelKernel(0.2).prepare([y[m]], [y[m]])
        own = random_of(3)
        own._keys = own._keys[m : m + 1]
        assert torch.equal(alone.draw(rows[m : m + 1], own.uniform, 4)[0], first[m])
        assert first[m].max() < len(y[m])
    some = torch.tensor([2, 0])
    fresh = random_of(3)
    fresh._keys = fresh._keys[some]
    assert torch.equal(joint.members(some).draw(rows[some], fresh.uniform, 4), first[some])


def test_the_order_in_which_rows_are_asked_changes_no_law():
    y = targets("heavy tails")
    prepared = LabelKernel(0.1).prepare([y.unsqueeze(-1)], [y])
    rows = torch.tensor([[7, 7, 3]])
    partners = prepared.draw(rows, random_of().uniform, 6000)[0]
    assert pvalue_of(partners, table(y, 0.1)[rows[0]]) > 1e-4


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), float("inf")])
def test_bandwidth_must_be_positive(bandwidth):
    message = (
        rf"^`bandwidth` of LabelKernel must be positive and finite, in standard deviations of the targets; got "
        rf"{bandwidth}\. Use UniformPartners\(\) for any row\.$"
    )
    with pytest.raises(ValueError, match=message):
        LabelKernel(bandwidth)
