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

from probmix import GaussianEmbedding, NaturalHead, families, mixup_loss
from probmix.mixup import preset
from probmix.plots import FusionDisplay
from probmix.pooling import linear_pool, log_linear_pool
from probmix.random import seeded


def truth(x):
    return Normal(x**3, 0.5 * x**2 + 1)


x, y = torch.tensor([5.0, -5.0]), torch.tensor([130.0, -120.0])
weights = torch.tensor([0.8, 0.2])
mixed_x, mixed_y = (weights * x).sum(), (weights * y).sum()

# %%
# ProbMix gives the averaged target, 80, to the *pool* of the two densities. The log-linear pool, the product of both
# with the weights as powers, is again a Gaussian. Its mean is 75 and its standard deviation 13.5, so that 80 is no
# surprise. The linear pool is a mixture and keeps both humps.
family = families.get("gaussian")
pool = family.distribution(log_linear_pool(family.natural_params(truth(x)), weights))
print(f"NLL of the target, averaged x: {-truth(mixed_x).log_prob(mixed_y):6.2f}")
print(f"NLL of the target, the pool:   {-pool.log_prob(mixed_y):6.2f}")

grid = torch.linspace(-6, 6, 200)
mean, sd = truth(grid).mean, truth(grid).stddev
_, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.plot(grid, mean, color="black", label="mean")
left.fill_between(grid, mean - 2 * sd, mean + 2 * sd, color="0.85", label="± two sd")
left.plot(x, y, "o--", color="C0", label="two rows")
left.plot(mixed_x, mixed_y, "X", color="C3", markersize=10, label="their average (mixup)")
left.set(xlabel="x", ylabel="y")
left.legend(frameon=False)
FusionDisplay.from_predictions(truth(x), weight=0.8, ax=right)
right.axvline(mixed_y, color="C3", linestyle=(0, (1, 1)))
right.text(52, 0.024, "averaged target", color="C3", ha="right")
plt.show()

# %%
# M-ProbMix pools at a layer inside the network. The output of the layer becomes the mean of a Gaussian density of z,
# and a small network beside it, the ``GaussianEmbedding``, says how sure each coordinate is. Here the layer has two
# units, so that it can be drawn. Rows are mixed there in training only. The network sees x / 2 and y / 20, which are
# numbers of about one.
with seeded(0):
    rows = 8 * torch.rand(300, 1) - 4
    targets = truth(rows[:, 0]).sample()
    below, layer = [nn.Linear(1, 32), nn.SiLU()], nn.Linear(32, 2)
    above = [nn.Linear(2, 32), nn.SiLU(), NaturalHead("gaussian", 32)]
    network, embedding = nn.Sequential(*below, layer, *above), GaussianEmbedding(2)
    mixup = preset("m-probmix", at="2")  # the linear layer, by its name
    parameters = [*network.parameters(), *embedding.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        batch = rows / 2, targets / 20
        loss = mixup_loss(network, family, *batch, mixup, embedding=embedding)
        loss.backward()
        optimizer.step()

# %%
# On the left the plane of z: an ellipse for each x, one standard deviation to each side, along the curve that the
# network has learned; and the pool of two of them with its draws. In each coordinate the pool lies nearer to the row
# that is surer of itself, and so not at the average of both points, the cross, with which manifold mixup goes on. On
# the right what the rest of the network predicts from these draws, beside the densities of the two rows.
names, colors, pair = ("x = 3.5", "x = -3.5"), ("C0", "C1"), torch.tensor([[3.5], [-3.5]])
with torch.no_grad(), seeded(1):
    curve, means = network[:3](grid[40:160:4, None] / 2), network[:3](pair / 2)
    widths, precision = embedding(curve, None).rsqrt(), embedding(means, None)
    share = weights[:, None] * precision
    centre, width = (share * means).sum(0) / share.sum(0), share.sum(0).rsqrt()
    noise = torch.randn(3, 300, 2)
    draws = [
        *(means[:, None] + precision.rsqrt()[:, None] * noise[:2]),
        centre + width * noise[2],
    ]
    densities = [linear_pool(family.distribution(network[3:](z))) for z in draws]

_, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.plot(*curve.T, color="0.4", label="layer for x from -4 to 4")
for z, size in zip(curve, widths, strict=True):
    left.add_patch(Ellipse(z, *(2 * size), facecolor="none", edgecolor="0.7"))
for z, size, name, color in zip(means, precision.rsqrt(), names, colors, strict=True):
    left.add_patch(Ellipse(z, *(2 * size), facecolor=color, alpha=0.5))
    left.annotate(name, z, (0, 8), textcoords="offset points", ha="center", color=color)
left.plot(*draws[2].T, "k.", markersize=2, alpha=0.5, label="draws from the pool")
left.plot(*means.T, "C3:", linewidth=1)
left.plot(*(weights @ means), "C3x", markersize=10, label="average of the points")
left.set(xlabel="first unit of the layer", ylabel="second unit")
left.margins(0.12)
left.legend(frameon=False)

places = torch.linspace(-5, 5, 300)
styles = {"x = 3.5": "C0-.", "x = -3.5": "C1:", "pool": "k-"}
for density, (name, style) in zip(densities, styles.items(), strict=True):
    height = density.log_prob(places).exp() / 20
    right.plot(20 * places, height, style, linewidth=2, label=name)
right.set(xlabel="y", ylabel="density")
right.legend(frameon=False)
plt.show()
