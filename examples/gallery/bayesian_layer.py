"""
A Bayesian last layer in Pyro
=============================

You write models in Pyro and want ProbMix in one of them, or you want a posterior where an ensemble gives you several
networks. The natural parameters of a family are tensors, so that a pooled likelihood is one line inside a model; and
the features of a fitted network are the columns of a Bayesian regression that NUTS samples in seconds.
"""

# %%
# One feature, so that all can be drawn; a wave whose noise grows to the right; and no rows between 0.4 and 1.2.
import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal, init_to_value
from torch import nn

from probmix import DensityRegressor, families, linear_pool, log_linear_pool
from probmix.distributions import icdf
from probmix.random import seeded
from probmix.scores import evaluate


def draw(n, low, high):
    x = low + (high - low) * torch.rand(n, 1)
    return x, torch.sin(3 * x[:, 0]) + torch.exp(0.5 * x[:, 0] - 2) * torch.randn(n)


with seeded(0):
    pieces = draw(60, -2.0, 0.4), draw(40, 1.2, 2.5)
    x, y = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    tests = {
        "where there are rows": draw(500, -2.0, 0.4),
        "in the gap": draw(500, 0.4, 1.2),
    }

# %%
# The model: a network up to its features, and a last layer whose weights have a normal prior. ``constrain`` makes
# natural parameters of what it says. With partners, the likelihood of a row is the log-linear pool of the densities of
# two rows, which is ProbMix, and the target is the average of both.
family, width = families.get("gaussian"), 8
with seeded(0):
    network = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, width), nn.Tanh())


def model(features, y=None, partners=None, weights=None):
    shape = torch.Size([width + 1, 2])
    layer = pyro.sample("layer", dist.Normal(0.0, 0.5).expand(shape).to_event(2))
    eta = family.constrain(features @ layer[:-1] + layer[-1])
    if partners is not None:
        eta = log_linear_pool(torch.stack([eta, eta[partners]], 1), weights)
        y = (weights * torch.stack([y, y[partners]], 1)).sum(1)
    with pyro.plate("rows", len(features)):
        pyro.sample("y", family.distribution(eta), obs=y)
    return eta


def fused(x, y):
    share = dist.Beta(0.2, 0.2).sample((len(x),))
    features = pyro.module("network", network)(x)
    return model(features, y, torch.randperm(len(x)), torch.stack([share, 1 - share], 1))


# %%
# Stochastic variational inference (SVI) trains the network, and with it a normal approximation of the posterior of the
# last layer. ``seeded`` and the scope of the parameter store leave Pyro and torch as they were.
with seeded(0), pyro.get_param_store().scope():
    guide = AutoNormal(fused, init_scale=0.01)
    svi = SVI(fused, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    for _ in range(400):
        svi.step(x, y)
    features = network(x).detach()
    layers = {"SVI": torch.stack([guide(x, y)["layer"].detach() for _ in range(100)])}

# %%
# NUTS samples the last layer without an approximation: with the features as they are now, and rows that are not mixed.
# It starts where SVI ended. So few steps do for a picture; take a thousand, and several chains, for work.
with seeded(0):
    start = init_to_value(values={"layer": guide.median()["layer"]})
    kernel = NUTS(model, max_tree_depth=5, full_mass=True, init_strategy=start)
    sampler = MCMC(kernel, num_samples=50, warmup_steps=50, disable_progbar=True)
    sampler.run(features, y)
layers["NUTS"] = sampler.get_samples()["layer"]
effective = sampler.diagnostics()["layer"]["n_eff"].min()
print(f"The least effective number of draws of a weight: {effective:.0f} of 50")

# %%
# Each draw of the layer predicts a density for each row, and the prediction is their mixture. An ensemble of eight
# networks stands beside them.
ensemble = DensityRegressor("gaussian", preset="fast", n_members=8, random_state=0)
ensemble.fit(x, y)


def predictions(x):
    found = {"ensemble": ensemble.predict_dist(x)}
    for name, layer in layers.items():
        with torch.no_grad():  # (draws, rows, parameters)
            eta = family.constrain(network(x) @ layer[:, :-1] + layer[:, -1:])
        found[name] = linear_pool(family.distribution(eta.movedim(0, 1)))
    return found


for place, (x_test, y_test) in tests.items():
    table = evaluate(predictions(x_test), None, y_test, scores=["nll", "coverage90"])
    print(f"{place}\n{table}\n")

# %%
# The 90 % intervals, and the rows of the fit. NUTS is narrow where the noise is small and wide where it is large; SVI,
# whose posterior is an approximation, follows less closely. In the gap nothing is known but what the features make
# likely: all three are surer of themselves than they should be, the ensemble most.
grid = torch.linspace(-2.2, 2.7, 200)[:, None]
_, axes = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True, layout="constrained")
for ax, (name, prediction) in zip(axes, predictions(grid).items(), strict=True):
    levels = torch.tensor([[0.05], [0.5], [0.95]], dtype=torch.float64)
    low, middle, high = icdf(prediction, levels)
    ax.fill_between(grid[:, 0], low, high, color="C0", alpha=0.25, label="90 % interval")
    ax.plot(grid, middle, color="C0", label="median")
    ax.plot(grid, torch.sin(3 * grid), "--", color="0.3", label="true mean")
    ax.plot(x, y, ".", color="black", markersize=4)
    ax.set(title=name, xlabel="x", ylim=(-3, 3))
axes[0].set_ylabel("y")
axes[0].legend(frameon=False, loc="lower left")
plt.show()
