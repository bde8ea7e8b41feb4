"""Intrusion of mixed points into other classes against brute force."""

import math

import numpy as np
import pytest
import torch

from probmix import DensityClassifier
from probmix.mixup import BetaWeights
from probmix.theory import intrusion


class Middle:
    def sample(self, shape, uniform, order=2):
        return torch.full((*shape, 2), 0.5)


def brute_force(x, y, metric):
    distances = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            mixed = (x[i] + x[j]) / 2
            others = [x[k] for k in range(len(x)) if y[k] not in (y[i], y[j])]
            if not others:
                continue
            if metric == "euclidean":
                distances.append(min(np.linalg.norm(mixed - other) for other in others))
            else:
                cosines = [mixed @ other / np.linalg.norm(mixed) / np.linalg.norm(other) for other in others]
                distances.append(math.acos(max(cosines)))
    return np.array(distances)


@pytest.mark.parametrize("metric", ["angular", "euclidean"])
def test_all_pairs_by_brute_force(metric):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(18, 3)), np.array(list("abc") * 6)
    found = intrusion(x, y, Middle(), metric=metric, subsample=1.0)
    expected = brute_force(x, y, metric)
    np.testing.assert_allclose(np.sort(found.distances), np.sort(expected), rtol=1e-9)
    assert found.min == pytest.approx(expected.min())
    assert found.mean == pytest.approx(expected.mean())
    np.testing.assert_allclose(found.quantiles([0.1, 0.5]), np.quantile(expected, [0.1, 0.5]))


def test_alternating_points_intrude_and_separated_classes_do_not():
    line = intrusion([[0.0], [1.0], [2.0]], [1, 2, 1], metric="euclidean", subsample=1.0)
    assert len(line.distances) == 1
    assert line.min < 0.1
    x = np.concatenate([np.eye(3) + 0.01 * np.random.default_rng(k).normal(size=(3, 3)) for k in range(10)])
    apart = intrusion(x, np.tile([0, 1, 2], 10), subsample=0.5)
    assert apart.min > 1.0
    assert np.all(apart.distances <= math.pi)


def test_a_share_of_each_class_is_drawn():
    x, y = np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 4
    found = intrusion(x, y, subsample=0.2)
    assert len(found.distances) == 20 * 19 // 2
    np.testing.assert_array_equal(found.distances, intrusion(x, y, subsample=0.2).distances)
    assert found.mean != intrusion(x, y, subsample=0.2, random_state=1).mean
    assert found.mean != intrusion(x, y, BetaWeights(0.2), subsample=0.2).mean


def test_angles_are_those_of_points_far_and_near():
    x = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1e-9], [-1.0, 0.0]])
    found = intrusion(x[:3], [0, 0, 1], Middle(), subsample=1.0)
    np.testing.assert_allclose(found.distances, [1e-9], rtol=1e-6)
    found = intrusion(x[[0, 1, 3]], [0, 0, 1], Middle(), subsample=1.0)
    np.testing.assert_allclose(found.distances, [math.pi])


def test_in_the_space_that_a_network_sees():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 2)) * [1.0, 100.0] + [5.0, 0.0], np.arange(60) % 3
    model = DensityClassifier(max_epochs=2, random_state=0, hidden_layer_sizes=(8,), preset="plain").fit(x, y)
    seen = model.network_.standardize(torch.from_numpy(x))[0].numpy()
    by_model = intrusion(x, y, metric="euclidean", model=model)
    np.testing.assert_allclose(by_model.distances, intrusion(seen, y, metric="euclidean").distances, rtol=1e-9)
    layer = intrusion(x, y, metric="euclidean", model=model, layer="hidden.0")
    assert layer.mean != by_model.mean


def test_errors():
    x = np.eye(4)
    with pytest.raises(ValueError, match=r"^unknown metric 'cosine'; known are 'angular', 'euclidean'\.$"):
        intrusion(x, [0, 1, 2, 3], metric="cosine")
    with pytest.raises(
        ValueError, match=r"^`y` must have at least 2 classes for one to come close to another; got 1\.$"
    ):
        intrusion(x, [0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"^no pair of the rows that were drawn leaves a class of its own to come "):
        intrusion(x, [0, 0, 1, 1], subsample=0.5)
    with pytest.raises(
        ValueError, match=r"^`y` must hold one class for each of the 4 rows of `X`; got shape \(3,\)\.$"
    ):
        intrusion(x, [0, 1, 2])
    with pytest.raises(ValueError, match=r"^`subsample` must be a number in \(0, 1\); got 0\."):
        intrusion(x, [0, 1, 2, 3], subsample=0.0)
    with pytest.raises(ValueError, match=r"^`layer` is one of a model's; pass `model` with layer='0'\.$"):
        intrusion(x, [0, 1, 2, 3], layer="0")


def test_plot():
    from matplotlib.figure import Figure

    found = intrusion(np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3, subsample=1.0)
    ax = found.plot(Figure().subplots())
    assert ax.get_xlabel() == "distance to another class (radians)"
    assert sum(bar.get_height() for bar in ax.patches) == len(found.distances)
