"""
ProbMix by picture
==================

Mixup averages rows of the training data; ProbMix instead pools the densities predicted for them. Where the target is a
curve in x, an average of two rows lies off the curve, and a model that is trained on it learns something false.
"""

# %%
# The target is a cubic with noise that grows outwards. Two rows, at x = 5 and x = -5, are mixed with the weights 0.8
# and 0.2. Mixup makes the row (3, 80) of them: at x = 3 the true density has its mean at 27 and a standard deviation
# of 5.5, so that a target of 80 is all but impossible.
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Ellipse
from torch import nn
from torch.distributions import Normal

from probmix import GaussianEmbedding, NaturalHead, families, linear_pool, log_linear_pool, mixup_loss
from probmix.mixup import preset
from probmix.plots import FusionDisplay
from probmix.random import seeded


def truth(x):
    return Normal(x**3, 0.5 * x**2 + 1)


x, y, weights = torch.tensor([5.0, -5.0]), torch.tensor([130.0, -120.0]), torch.tensor([0.8, 0.2])
mixed_x, mixed_y = (weights * x).sum(), (weights * y).sum()

# %%
# ProbMix gives the averaged target, 80, to the *pool* of the two densities. The log-linear pool, the product of both
# with the weights as powers, is again a Gaussian, and 80 is where it expects it. The linear pool is a mixture and
# keeps both humps.
family = families.get("gaussian")
pool = family.distribution(log_linear_pool(family.natural_params(truth(x)), weights))
print(f"NLL of the target {mixed_y:.0f} under the density at the mixed x:   {-truth(mixed_x).log_prob(mixed_y):6.2f}")
print(f"NLL of the target {mixed_y:.0f} under the pool of both densities:  {-pool.log_prob(mixed_y):6.2f}")

grid = torch.linspace(-6, 6, 200)
_, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
mean, sd = truth(grid).mean, truth(grid).stddev
left.plot(grid, mean, color="black", label="mean")
left.fill_between(grid, mean - 2 * sd, mean + 2 * sd, color="0.85", label="two standard deviations")
left.plot(x, y, "o--", color="C0", label="two rows")
left.plot(mixed_x, mixed_y, "X", color="C3", markersize=10, label="their average, a row of mixup")
left.set(xlabel="x", ylabel="y")
left.legend(frameon=False)
FusionDisplay.from_predictions(truth(x), weight=0.8, ax=right)
right.axvline(mixed_y, color="C3", linestyle=(0, (1, 1)))
right.annotate("averaged target", (mixed_y, 0.02), xytext=(-60, 0.024), color="C3", arrowprops={"arrowstyle": "->"})
plt.show()

# %%
# M-ProbMix pools at a layer inside the network. Its output becomes the mean of a Gaussian density of z, and a small
# network beside it says how sure each coordinate is. Here the layer has two units, so that it can be drawn. Rows are
# mixed there in training only.
with seeded(0):
    rows = 8 * torch.rand(300, 1) - 4
    targets = truth(rows[:, 0]).sample()
    network = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 2), nn.Linear(2, 32), nn.SiLU())
    network.append(NaturalHead("gaussian", 32))
    embedding = GaussianEmbedding(2)
    optimizer = torch.optim.AdamW([*network.parameters(), *embedding.parameters()], lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        loss = mixup_loss(network, family, rows / 2, targets / 20, preset("m-probmix", at="2"), embedding=embedding)
        loss.backward()
        optimizer.step()

# %%
# On the left the plane of z: an ellipse for each x, one standard deviation to each side, along the curve that the
# network has learned; and the pool of two of them with its draws. In each coordinate the pool lies nearer to the row
# that is surer of itself, and so not at the average of both points, the cross, with which manifold mixup goes on. On
# the right what the rest of the network predicts from these draws, beside the densities of the two rows.
with torch.no_grad(), seeded(1):
    pair = torch.tensor([[3.5], [-3.5]])
    centres, pairs = network[:3](grid[40:160:4, None] / 2), network[:3](pair / 2)
    widths, precision = embedding(centres, None).rsqrt(), embedding(pairs, None)
    share = weights[:, None] * precision
    centre, width = (share * pairs).sum(0) / share.sum(0), share.sum(0).rsqrt()
    draws = centre + width * torch.randn(300, 2)
    own = pairs[:, None] + precision.rsqrt()[:, None] * torch.randn(2, 300, 2)
    densities = [linear_pool(family.distribution(network[3:](z))) for z in (own[0], own[1], draws)]

_, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for z, size in zip(centres, widths, strict=True):
    left.add_patch(Ellipse(z, *(2 * size), facecolor="none", edgecolor="0.7"))
left.plot(*centres.T, color="0.4", label="layer for x from -4 to 4")
left.plot(*draws.T, ".", color="black", markersize=2, alpha=0.5, label="draws from the pool")
for z, size, color, name in zip(pairs, precision.rsqrt(), ("C0", "C1"), ("x = 3.5", "x = -3.5"), strict=True):
    left.add_patch(Ellipse(z, *(2 * size), facecolor=color, alpha=0.5))
    left.annotate(name, z, xytext=(0, 8), textcoords="offset points", ha="center", color=color, fontweight="bold")
left.plot(*pairs.T, color="C3", linestyle=":", linewidth=1)
left.plot(*(weights @ pairs), "x", color="C3", markersize=10, label="average of the points")
left.set(xlabel="first unit of the layer", ylabel="second unit")
left.margins(0.12)
left.legend(frameon=False)
places = torch.linspace(-5, 5, 300)
for density, style, name in zip(densities, ("C0-.", "C1:", "k-"), ("x = 3.5", "x = -3.5", "pool"), strict=True):
    right.plot(20 * places, density.log_prob(places).exp() / 20, style, linewidth=2, label=name)
right.set(xlabel="y", ylabel="density")
right.legend(frameon=False)
plt.show()
