"""A graph of the user's own: in law, over the rows of an estimator, saved, and its errors word for word."""

import copy
import pickle

import numpy as np
import pytest
import torch
from partner_cases import drawn, pvalue_of
from scipy import sparse
from sklearn.base import clone

import probmix
from probmix import DensityClassifier, DensityRegressor, fit_together
from probmix.estimators import persistence
from probmix.estimators.given import Given
from probmix.estimators.graph_rows import over_training_rows
from probmix.mixup import (
    BatchNeighbours,
    ClassBalanced,
    DistanceKernel,
    GraphPartners,
    LabelKernel,
    Mixup,
    NearestNeighbours,
    WithinDistance,
    mixup_loss,
    preset,
)
from probmix.training import Rows
from probmix.training.batches import BatchSource
from probmix.training.description import description

RNG = np.random.default_rng(0)
N = 50
WEIGHTS = np.where(RNG.random((N, N)) < 0.15, RNG.gamma(0.5, size=(N, N)), 0)
X = RNG.normal(size=(N, 2))
Y = X[:, 0] + 0.1 * RNG.normal(size=N)
FAST = {"max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}


def alone(weights):
    """With rows that have no edges as their own partners."""
    weights = weights + np.diag(weights.sum(1) == 0)
    return weights / weights.sum(1, keepdims=True)


def graph(weights=WEIGHTS):
    return GraphPartners.from_sparse(sparse.csr_array(weights))


def test_partners_follow_the_weights_of_the_edges():
    weights = WEIGHTS.copy()
    weights[7] = 0
    weights[8] = 0
    weights[8, 8] = 1
    x = torch.zeros(N, 1)
    assert pvalue_of(drawn(graph(weights), x, x[:, 0], 3000), alone(weights)) > 1e-4
    plain = sparse.csr_array(weights)
    unweighted = GraphPartners(plain.indptr, plain.indices.tolist())
    assert pvalue_of(drawn(unweighted, x, x[:, 0], 3000), alone((weights > 0).astype(float))) > 1e-4


def test_edges_to_rows_that_do_not_train_a_member_are_dropped():
    rows = [torch.tensor([4, 30, 2, 11, 9, 45]), torch.tensor([0, 1, 2])]
    x = [torch.zeros(len(one), 1) for one in rows]
    prepared = graph().prepare(x, x, rows)
    for m, own in enumerate(rows):
        member = prepared.members(torch.tensor([m]))
        positions = torch.arange(len(own)).unsqueeze(0)
        numbers = torch.Generator().manual_seed(m)
        partners = member.draw(positions, lambda shape, g=numbers: torch.rand(1, *shape, generator=g), 4000)
        assert pvalue_of(partners[0], alone(WEIGHTS[np.ix_(own, own)])) > 1e-4


def test_rows_of_training_are_those_that_were_given():
    """Merged where they are equal, in another order, twice, some not at all, and with new ones among them."""
    x = torch.tensor([[0.0], [1.0], [1.0], [2.0], [3.0]]).double()
    given = Rows(x=x, y=x[:, 0], weight=torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0]).double())
    new = torch.tensor([[3.0], [1.0], [9.0], [1.0], [0.0]]).double()
    weights = np.arange(25.0).reshape(5, 5)
    mixup = over_training_rows(Mixup(partners=graph(weights)), given, Rows(x=new, y=new[:, 0]))
    merged = np.array([[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1]])
    merged = merged @ weights @ merged.T
    merged = np.pad(merged, (0, 1))
    which = [2, 1, 3, 1, 0]
    np.testing.assert_array_equal(mixup.partners.matrix().toarray(), merged[np.ix_(which, which)])
    assert over_training_rows(preset("probmix"), given, given) == preset("probmix")


@pytest.mark.parametrize("validation", ["random", "folds", "given"])
def test_rows_of_a_fit_have_partners_of_the_graph(monkeypatch, validation):
    """Each row is mixed with the next one of a ring of X, whatever sorting and splitting do to the rows."""
    ring = sparse.csr_array((np.ones(N), (np.arange(N), (np.arange(N) + 1) % N)), shape=(N, N))
    place = {tuple(row): number for number, row in enumerate(X.tolist())}
    pairs = []
    draw = BatchSource._draw_partners

    def watched(self, order, *rest):
        groups, partners = draw(self, order, *rest)
        if self._partners is None:  # how many members train at a time is found out without partners
            return groups, partners
        rows = self._x[self._rows.gather(1, groups.flatten(1))].view(*groups.shape, -1)
        pairs.extend((place[tuple(one)], place[tuple(other)]) for one, other in rows.flatten(0, 1).tolist())
        return groups, partners

    monkeypatch.setattr(BatchSource, "_draw_partners", watched)
    mixup = Mixup(partners=GraphPartners.from_sparse(ring))
    given = {"validation": validation} if validation != "given" else {}
    model = DensityRegressor(mixup=mixup, n_members=3, batch_size=16, **given, **FAST, preset="plain")
    held_out = {} if validation != "given" else {"X_val": X[:5] + 9, "y_val": Y[:5]}
    model.fit(X, Y, **held_out)
    assert model.mixup_ is mixup
    assert {(other - one) % N for one, other in pairs} <= {0, 1}
    mixed = [one != other for one, other in pairs]
    assert np.mean(mixed) == 1 if validation == "given" else 0.5 < np.mean(mixed) < 1


def test_fits_and_losses_of_several_kinds():
    method = Mixup(at="input", label_pool="average", partners=graph())
    DensityClassifier(mixup=method, n_members=2, **FAST, preset="plain").fit(X, Y > 0)
    network = probmix.NaturalHead("gaussian", 2)
    loss = mixup_loss(network, "gaussian", torch.from_numpy(X).float(), torch.from_numpy(Y).float(), method)
    assert loss.isfinite()


def test_a_graph_is_a_value():
    one, same = graph(), graph()
    assert one == same
    assert hash(one) == hash(same)
    assert one != graph(2 * WEIGHTS)
    assert one != NearestNeighbours(3)
    assert repr(one) == f"GraphPartners(50 rows, {(WEIGHTS > 0).sum()} edges)"
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    with pytest.raises(ValueError, match="read-only"):
        one.indices[0] = 3


def test_a_graph_is_saved(tmp_path, monkeypatch):
    for one in (graph(), GraphPartners(range(N + 1), [*range(1, N), 0])):
        model = DensityRegressor(mixup=Mixup(partners=one), **FAST, preset="plain").fit(X, Y)
        model.save(tmp_path / "model")
        loaded = probmix.load(tmp_path / "model")
        assert loaded.mixup_ == model.get_params()["mixup"] == loaded.get_params()["mixup"]
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        again = clone(loaded).fit(X, Y)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
    monkeypatch.setattr(persistence, "_LARGEST_HEADER", 1000)
    message = (
        r"^the parameters of the estimator take 0\.0 MB as text, and a file has room for 0\.001 MB: that of a graph of "
        r"GraphPartners with a million edges\. Pickle the estimator instead\.$"
    )
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / "large")
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize(
    "law",
    [LabelKernel(0.3), DistanceKernel(2.0, k=7), WithinDistance(1.5), BatchNeighbours(k=4), BatchNeighbours(radius=2.0),
     ClassBalanced()],
    ids=repr,
)  # fmt: skip
def test_laws_of_partners_are_saved(law, tmp_path):
    model = DensityRegressor("poisson", mixup=Mixup(partners=law), **FAST, preset="plain").fit(X, np.abs(Y).round())
    model.save(tmp_path / "model")
    assert probmix.load(tmp_path / "model").mixup_.partners == law


def test_a_checkpoint_belongs_to_its_graph():
    said = [
        description(
            mixup=DensityRegressor(mixup=Mixup(partners=one), **FAST, preset="plain")
            ._prepare(Given(X, Y), Given())[0]
            .mixup
        )
        for one in (graph(), graph(), graph(WEIGHTS.T))
    ]
    assert said[0] == said[1] != said[2]


ERRORS = {
    "wrong length": (
        lambda: GraphPartners([0, 1, 3], [0, 1]),
        r"^`indptr` of GraphPartners must go from 0 to the number of edges and never down, one number more than there "
        r"are rows; got 3 numbers from \[0\] to \[3\] for 2 edges\. GraphPartners\.from_sparse takes a matrix of "
        r"SciPy\.$",
    ),
    "down": (lambda: GraphPartners([0, 2, 1, 2], [0, 1]), r"^`indptr` of GraphPartners must go from 0 to the number"),
    "empty": (
        lambda: GraphPartners([], []),
        r"^`indptr` of GraphPartners must go from 0 .* got 0 numbers from \[\] to",
    ),
    "beyond": (
        lambda: GraphPartners([0, 1, 2], [0, 2]),
        r"^`indices` of GraphPartners must be row numbers from 0 to 1; got 2 at edge 1\.$",
    ),
    "fractions": (
        lambda: GraphPartners([0.0, 1.0], [0]),
        r"^`indptr` of GraphPartners must be a vector of whole numbers; got float64 of shape \(2,\)\.$",
    ),
    "weights": (
        lambda: GraphPartners([0, 1, 2], [0, 1], [1.0]),
        r"^`weights` of GraphPartners must be one for each of the 2 edges; got shape \(1,\)\.$",
    ),
    "negative": (
        lambda: GraphPartners([0, 1, 2], [0, 1], [1.0, -2.0]),
        r"^`weights` of GraphPartners must be non-negative and finite; got -2\.0 at edge 1\.$",
    ),
    "no square": (
        lambda: GraphPartners.from_sparse(sparse.csr_array((2, 3))),
        r"^a graph of rows is a square matrix; got shape \(2, 3\)\.$",
    ),
    "rows of a loss": (
        lambda: graph().prepare([torch.zeros(3, 1)], [torch.zeros(3)]),
        r"^the graph of GraphPartners must be over the rows that are passed; it has 50, and there are 3\. Make one for "
        r"these rows\.$",
    ),
    "rows of a fit": (
        lambda: DensityRegressor(mixup=Mixup(partners=graph()), **FAST, preset="plain").fit(X[:40], Y[:40]),
        r"^the graph of GraphPartners must be over the rows that are passed; it has 50, and there are 40\. Make one ",
    ),
    "together": (
        lambda: fit_together(DensityRegressor(mixup=Mixup(partners=graph()), preset="plain"), X, Y, [range(N)], [0]),
        r"^the graph of GraphPartners is over the rows of one fit, and each of several fits has its own\. Fit them one "
        r"by one, with a graph for the rows of each\.$",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    make, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        make()


def test_a_dense_matrix_is_no_graph():
    with pytest.raises(TypeError, match=r"^GraphPartners\.from_sparse takes a sparse matrix of SciPy; got ndarray\.$"):
        GraphPartners.from_sparse(WEIGHTS)


@pytest.mark.parametrize("classes", [False, True])
def test_laws_of_partners_see_classes_as_integers(monkeypatch, classes):
    seen = []
    prepare = LabelKernel.prepare

    def watched(self, x, y):
        seen.extend(one.dtype for one in y)
        return prepare(self, x, y)

    monkeypatch.setattr(LabelKernel, "prepare", watched)
    mixup = preset("probmix", partners=LabelKernel())
    if classes:
        DensityClassifier(mixup=mixup, **FAST, preset="plain").fit(X, (10 * Y).round() % 3)
        DensityRegressor("bernoulli", mixup=mixup, **FAST, preset="plain").fit(X, (Y > 0).astype(float))
        mixup_loss(probmix.NaturalHead("bernoulli", 2), "bernoulli", torch.zeros(4, 2), torch.ones(4), mixup)
        assert set(seen) == {torch.int64}
    else:
        DensityRegressor("poisson", mixup=mixup, **FAST, preset="plain").fit(X, np.abs(Y).round())
        mixup_loss(probmix.NaturalHead("poisson", 2), "poisson", torch.zeros(4, 2), torch.ones(4).long(), mixup)
        assert set(seen) == {torch.float64}
