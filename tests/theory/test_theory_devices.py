"""The theory on a GPU that any machine has: no tensor is made elsewhere, and results are those of the CPU."""

import numpy as np
import pytest
import torch
from pretend_device import PretendDevice
from theory_cases import rows, tanh_network, targets

from probmix import DensityClassifier, families
from probmix.theory import adversarial_terms, intrusion, kept_label_risk, linearity, mixup_risk, quadratic_expansion


@pytest.fixture
def gpu(monkeypatch):
    class HostGenerator(torch.Generator):
        def __new__(cls, device=None):
            return super().__new__(cls)

    monkeypatch.setattr(torch, "Generator", HostGenerator)
    return PretendDevice()


def looks(model, x, y, **family):
    """All numbers that the theory finds."""
    expansion = quadratic_expansion(model, x, y, split=True, **family)
    adversarial = adversarial_terms(model, x, y, **family)
    return [
        expansion.rows,
        expansion.r3,
        expansion.trace_by_el2n,
        mixup_risk(model, x, y, n_nodes=4, **family).rows,
        kept_label_risk(model, x, y, n_nodes=4, **family),
        adversarial.rows,
        adversarial.adversarial,
        linearity(model, x).values,
        intrusion(x if isinstance(x, np.ndarray) else x.cpu(), y, subsample=1.0).distances,
    ]


def test_a_module_on_the_device(gpu):
    x, family = rows(9, 2), families.Bernoulli()
    y, network = targets(family, 9), tanh_network(2, 1)
    expected = looks(network, x, y, family=family)
    with gpu:
        found = looks(network.to("cuda"), x.to("cuda"), y, family=family)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_an_estimator_on_the_device(gpu):
    x = np.random.default_rng(0).normal(size=(40, 2))
    y = (x[:, 0] > 0).astype(int)
    model = DensityClassifier(max_epochs=3, random_state=0, hidden_layer_sizes=(8,), preset="plain").fit(x, y)
    expected = looks(model, x, y)
    with gpu:
        model.network_ = model.network_.to("cuda")
        model.scaler_ = model.scaler_.to(torch.device("cuda"))
        found = looks(model, x, y)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
