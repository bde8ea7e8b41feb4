"""
A residual network of your own, in a plain loop
===============================================

You have a PyTorch module and a training loop, and want a predicted density and ProbMix in it. Put a ``NaturalHead`` at
the end, take ``mixup_loss`` as the loss, and name the layer at which rows are to be mixed.
"""

# %%
# The data are Friedman's first problem: ten features, of which five matter, and noise with a standard deviation of 1.
# Nothing can come below the NLL of that noise, 1.419.
import copy

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import make_friedman1
from torch import nn

from probmix import (
    GaussianEmbedding,
    NaturalHead,
    families,
    fuse_at,
    linear_pool,
    mixup_loss,
)
from probmix.mixup import preset
from probmix.plots import ScoreComparisonDisplay
from probmix.random import seeded
from probmix.scores import evaluate

X, y = map(torch.tensor, make_friedman1(1600, noise=1.0, random_state=0))
family = families.get("gaussian")
scaler = family.scaler(y[:300])
x, target = 2 * X.float() - 1, scaler.transform(y).float()
train, validation, test = torch.arange(1600).split([300, 300, 1000])


# %%
# The network. Its last layer turns features into natural parameters of the family; nothing else is special. Layers
# have the names that ``named_modules`` gives them: "1" is the first block, with its skip connection.
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        layers = nn.LayerNorm(32), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 32)
        self.branch = nn.Sequential(*layers)

    def forward(self, hidden):
        return hidden + self.branch(hidden)


def build():
    return nn.Sequential(nn.Linear(10, 32), Block(), Block(), NaturalHead(family, 32))


# %%
# The loop. The methods differ in one argument of ``mixup_loss``. M-ProbMix mixes rows as densities at a layer, and
# needs a ``GaussianEmbedding`` beside the network, whose parameters the optimiser gets as well. It predicts the
# mixture over draws from the layer, here by ``fuse_at`` without partners: each row then goes on as a draw from its own
# density. The validation rows are never mixed, and the weights of the epoch at which their loss was lowest are kept.
def predict(network, embedding, rows):
    with torch.no_grad():
        if embedding is None:
            return family.distribution(network(x[rows]))
        with fuse_at(network, "1", None, None, embedding=embedding, noise=torch.randn):
            draws = torch.stack([network(x[rows]) for _ in range(30)], 1)
        return linear_pool(family.distribution(draws))


def fit(mixup, epochs=50):
    embedding = GaussianEmbedding(32) if mixup.embedding == "gaussian" else None
    parts = nn.ModuleList([build(), embedding])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=2e-3)
    curve, best = [], parts
    for _ in range(epochs):
        for rows in train[torch.randperm(len(train))].split(50):
            optimizer.zero_grad()
            batch = x[rows], target[rows]
            mixup_loss(parts[0], family, *batch, mixup, embedding=parts[1]).backward()
            optimizer.step()
        log_prob = predict(*parts, validation).log_prob(target[validation])
        curve.append(-log_prob.mean().item())
        best = copy.deepcopy(parts) if curve[-1] == min(curve) else best
    return best, curve


methods = {
    "erm": preset("erm"),
    "manifold-mixup": preset("manifold-mixup", at="1"),
    "probmix": preset("probmix"),
    "m-probmix": preset("m-probmix", at="1"),
}
with seeded(0):
    fits = {name: fit(mixup) for name, mixup in methods.items()}
    predicted = {name: predict(*parts, test) for name, (parts, _) in fits.items()}

# %%
# Test scores, in units of the standardised target; the NLL of the noise is then lower by the logarithm of its standard
# deviation. Plain maximum likelihood (erm) is the baseline: a difference below zero is better. The errors are those of
# new rows for these fits: with another seed the methods may change places.
floor = 1.419 - scaler.scale.log().item()
table = evaluate(predicted, None, target[test], scores=["nll", "crps", "coverage90"])
print(table)
print(f"NLL of the noise: {floor:.3f}")

# %%
# On the left why early stopping is needed: erm soon becomes too sure of itself, and the validation loss rises. Rows
# that are mixed keep it down for longer. The dots are the epochs that were kept. On the right the differences to erm
# on the test rows.
_, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for (name, (_, curve)), style in zip(fits.items(), ("-", ":", "--", "-."), strict=True):
    (line,) = left.plot(range(1, len(curve) + 1), curve, style, label=name)
    left.plot(curve.index(min(curve)) + 1, min(curve), "o", color=line.get_color())
left.axhline(floor, color="0.6", linewidth=1)
left.set(xlabel="epoch", ylabel="NLL of the validation rows", ylim=(floor - 0.1, 1.2))
left.legend(frameon=False, ncols=2)
ScoreComparisonDisplay(table, "nll").plot(right)
plt.show()
