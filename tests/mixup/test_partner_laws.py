"""Laws of partners by distance, class and graph: in law, for several members, and their errors word for word."""

import numpy as np
import pytest
import torch
from partner_cases import drawn, generator, pvalue_of, random_of
from scipy import sparse
from scipy.spatial.distance import cdist

from probmix.mixup import (
    BatchNeighbours,
    ClassBalanced,
    DistanceKernel,
    LabelKernel,
    NearestNeighbours,
    PartnerLaw,
    UniformPartners,
    WithinDistance,
    distance_partners,
    mixup_loss,
    preset,
    row_graph,
)
from probmix.random import fine, keys_of_draws

X = torch.randn(60, 3, dtype=torch.float64, generator=generator())
DISTANCE = cdist(X, X)


def share(weights):
    return weights / weights.sum(1, keepdims=True)


def test_distance_kernel():
    weights = np.exp(-DISTANCE / 0.7)
    assert pvalue_of(drawn(DistanceKernel(0.7, k=100), X, X[:, 0], 4000), share(weights)) > 1e-4
    # cut off behind the k nearest others
    far = np.sort(DISTANCE, 1)[:, [8]] < DISTANCE
    assert pvalue_of(drawn(DistanceKernel(0.7, k=8), X, X[:, 0], 4000), share(np.where(far, 0, weights))) > 1e-4


def test_distance_kernel_of_rows_that_are_far_from_all():
    x = torch.tensor([[0.0], [1e6], [1e6 + 1]], dtype=torch.float64)
    partners = drawn(DistanceKernel(1.0, k=2), x, x[:, 0], 4000)
    weights = np.exp(-cdist(x, x))
    assert pvalue_of(partners, share(weights)) > 1e-4


@pytest.mark.parametrize("radius", [0.0, 0.8, 100.0])
def test_within_distance(radius):
    x = torch.cat([X, X[:2]])
    near = cdist(x, x) <= radius
    assert pvalue_of(drawn(WithinDistance(radius), x, x[:, 0], 3000), share(near.astype(float))) > 1e-4


def test_within_distance_has_a_bound(monkeypatch):
    monkeypatch.setattr(distance_partners, "_MOST_PAIRS", 100)
    monkeypatch.setattr(distance_partners, "_ROWS", 10)
    message = (
        r"^WithinDistance\(radius=9\) must leave at most 100 pairs of rows; the first 10 of 60 rows have 600\. Use a "
        r"smaller radius, DistanceKernel, or BatchNeighbours\.$"
    )
    with pytest.raises(ValueError, match=message):
        WithinDistance(9).prepare([X], [X])
    monkeypatch.setattr(distance_partners, "_MOST_PAIRS", 3600)
    WithinDistance(9).prepare([X], [X])


@pytest.mark.parametrize("block", [1, 200, 2**22])
@pytest.mark.parametrize("law", [BatchNeighbours(k=3), BatchNeighbours(radius=1.0), BatchNeighbours(k=99)])
def test_neighbours_of_a_batch_are_in_it(law, block, monkeypatch):
    monkeypatch.setattr(distance_partners, "_BLOCK", block)
    rows = torch.tensor([50, 3, 17, 8, 9, 33, 41, 2, 5, 13])
    prepared = law.prepare([X], [X[:, 0]])
    assert prepared.in_batch
    partners = prepared.draw(rows[None], random_of().uniform, 3000)[0]
    distance = DISTANCE[np.ix_(rows, rows)]
    np.fill_diagonal(distance, 0 if law.radius else np.inf)
    limit = law.radius or np.sort(distance, 1)[:, [min(law.k, 9) - 1]]
    assert pvalue_of(partners, share((distance <= limit).astype(float))) > 1e-4


def test_a_batch_of_one_row():
    for law in (BatchNeighbours(k=2), BatchNeighbours(radius=0.0)):
        assert law.prepare([X], [X]).draw(torch.tensor([[4]]), random_of().uniform, 2).tolist() == [[[0, 0]]]


@pytest.mark.parametrize("kind", [torch.int64, torch.float32, torch.float64])
def test_class_balanced(kind):
    y = torch.tensor([0, 0, 0, 0, 0, 0, 7, 7, 1], dtype=kind)
    partners = drawn(ClassBalanced(), torch.zeros(9, 1), y, 3000)
    weights = np.array([[1 / 6] * 6 + [1 / 2] * 2 + [1]] * 9)
    assert pvalue_of(partners, share(weights)) > 1e-4


def test_class_balanced_of_several_targets():
    y = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    partners = drawn(ClassBalanced(), torch.zeros(3, 1), y, 3000)
    assert pvalue_of(partners, np.array([[0.25, 0.25, 0.5]] * 3)) > 1e-4


@pytest.mark.parametrize(
    ("y", "came"), [(torch.tensor([1.0, 0.5, 2.0]), "0.5"), (torch.tensor([[1.0, 2.0], [1.0, 0.5]]), r"\[1.0, 0.5\]")]
)
def test_class_balanced_needs_whole_numbers(y, came):
    message = (
        rf"^ClassBalanced\(\) needs classes or counts, targets that are whole numbers in training units; got {came} "
        r"among them\. Use LabelKernel\(\) or UniformPartners\(\) for continuous targets\.$"
    )
    with pytest.raises(ValueError, match=message):
        ClassBalanced().prepare([torch.zeros(len(y), 1)], [y])


LAWS = [
    NearestNeighbours(3),
    LabelKernel(0.3),
    DistanceKernel(0.5, k=5),
    WithinDistance(1.0),
    BatchNeighbours(k=3),
    BatchNeighbours(radius=1.0),
    ClassBalanced(),
]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_members_of_different_size_draw_what_they_would_alone(law):
    assert isinstance(law, PartnerLaw)
    sizes = (12, 30, 13)
    x = [torch.randn(n, 2, dtype=torch.float64, generator=generator(n)) for n in sizes]
    y = [torch.poisson(2 * one[:, 0].exp(), generator=generator()) for one in x]
    rows = torch.stack([torch.randperm(n, generator=generator())[:12] for n in sizes])
    joint = law.prepare(x, y)
    partners = joint.draw(rows, random_of(3).uniform, 3)
    assert partners.shape == (3, 12, 3)
    assert partners.dtype == torch.int64
    for m in range(3):
        own = random_of(3)
        own._keys = own._keys[m : m + 1]
        alone = law.prepare([x[m]], [y[m]]).draw(rows[m : m + 1], own.uniform, 3)
        assert torch.equal(alone[0], partners[m])
        assert partners[m].min() >= 0
        assert partners[m].max() < sizes[m]
    some, own = torch.tensor([2, 0]), random_of(3)
    own._keys = own._keys[some]
    assert torch.equal(joint.members(some).draw(rows[some], own.uniform, 3), partners[some])
    # rows that are there to fill
    filling = torch.full((3, 4), 30)
    drawn_for = joint.draw(filling, random_of(3).uniform, 2)
    assert all(drawn_for[m].max() < sizes[m] for m in range(3))


@pytest.mark.parametrize("law", [*LAWS, UniformPartners()], ids=repr)
def test_features_of_any_shape(law):
    x, y = torch.randn(20, 4, 3, generator=generator()), torch.arange(20.0)
    prepared = law.prepare([x], [y])
    if prepared is not None:
        flat = law.prepare([x.flatten(1)], [y])
        rows = torch.arange(20).unsqueeze(0)
        draws = [one.draw(rows, random_of().uniform, 2) for one in (prepared, flat)]
        assert torch.equal(*draws)


@pytest.mark.parametrize("law", [*LAWS, UniformPartners()], ids=repr)
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_features_that_a_loss_accepts(law, kind):
    """In half precision, and numbers in place of rows of one."""
    x, y = torch.randn(20, generator=generator()).to(kind), torch.arange(20.0) // 4

    def network(rows):
        numbers = rows.double().view(-1)
        return torch.stack([numbers, torch.full_like(numbers, -0.5)], -1)

    mixing = preset("probmix", partners=law)
    losses = [
        mixup_loss(network, "gaussian", given, y, mixing, generator=generator(1))
        for given in (x, x.double().unsqueeze(1))
    ]
    assert torch.equal(*losses)


def test_a_graph_of_rows():
    weights = np.random.default_rng(0).gamma(0.3, size=(40, 40)) * (np.random.default_rng(1).random((40, 40)) < 0.3)
    weights[7] = 0
    weights[9] *= 1e-300
    weights[11] *= 1e300
    prepared = row_graph.RowGraph.of([sparse.csr_array(weights)], torch.device("cpu"))
    partners = prepared.draw(torch.arange(40)[None], random_of().uniform, 4000)[0]
    weights[7, 7] = 1
    assert pvalue_of(partners, share(weights / weights.max(1, keepdims=True))) > 1e-4


def test_numbers_are_fine_enough_for_millions_of_rows():
    numbers = fine(random_of().uniform, (200_000,))[0]
    assert len(numbers.unique()) == 200_000
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # the first moments of the uniform law, and no steps in what is left below 2^-23
    np.testing.assert_allclose([numbers.mean(), numbers.var()], [1 / 2, 1 / 12], rtol=0.01)
    below = (numbers * 2**23).frac()
    np.testing.assert_allclose([below.mean(), below.var()], [1 / 2, 1 / 12], rtol=0.01)
    assert len(keys_of_draws(random_of().uniform, (200_000,)).unique()) == 200_000
    assert fine(torch.zeros, (3,)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DistanceKernel(0.0),
         r"^`bandwidth` of DistanceKernel must be positive and finite; got 0\.0\. Use NearestNeighbours\(k\) for equal "
         r"probabilities\.$"),
        (lambda: DistanceKernel(np.inf), r"^`bandwidth` of DistanceKernel must be positive and finite; got inf\."),
        (lambda: DistanceKernel(1.0, k=0), r"^`k` of DistanceKernel must be at least 1; got 0\.$"),
        (lambda: WithinDistance(-1.0), r"^`radius` of WithinDistance must be non-negative and finite; got -1\.0\.$"),
        (lambda: BatchNeighbours(radius=float("nan")),
         r"^`radius` of BatchNeighbours must be non-negative and finite; got nan\.$"),
        (lambda: BatchNeighbours(k=0), r"^`k` of BatchNeighbours must be at least 1; got 0\.$"),
        (BatchNeighbours,
         r"^BatchNeighbours takes `k`, a number of neighbours, or `radius`, a distance: one of both; got k=None and "
         r"radius=None\.$"),
        (lambda: BatchNeighbours(2, 1.0), r"^BatchNeighbours takes .* got k=2 and radius=1\.0\.$"),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
