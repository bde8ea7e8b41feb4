"""
Wine scores: rounded targets, classes in order
==============================================

Your target is a grade: a number on a lattice, or a class in an order, as you like. A density sees how far apart two
grades are, and a classifier may give any probability to any grade. Made probabilities of grades, both can be scored on
the same scale.
"""

# %%
# White wines, tasted and graded. Grades below 4 and above 8 are so rare that they count with their neighbours.
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch.distributions import Categorical

from probmix import DensityClassifier, DensityRegressor
from probmix.datasets import example
from probmix.distributions import Bernoulli, cdf
from probmix.plots import ReliabilityDisplay, ScoreComparisonDisplay
from probmix.scores import evaluate

wine = example("wine")
print(wine.source)
y = wine.y.clip(4, 8)
halves = train_test_split(wine.X, y, train_size=0.5, stratify=y, random_state=0)
X_train, X_test, y_train, y_test = halves

# %%
# Three densities and a classifier. Targets on a lattice are dangerous to densities: a hump on a grade could become
# ever narrower, and its likelihood ever larger, for nothing. Here no component gets narrower than the rounding error,
# which is 0.29 for steps of 1, and the bins of the histogram hold whole grades.
settings = {"preset": "fast", "max_epochs": 12, "random_state": 0}
densities = {}
for name in ("gaussian", "gaussian-mixture", "histogram"):
    model = DensityRegressor(name, **settings).fit(X_train, y_train)
    densities[name] = model.predict_dist(X_test)
classes = DensityClassifier(**settings).fit(X_train, y_train).predict_dist(X_test)

# %%
# The probability of a grade is what a density gives to half a step on either side of it, and the rest to the outer
# grades. Scores of densities and of probabilities cannot be compared: certainty has an NLL of 0, a Gaussian on the
# right grade, as narrow as it may be, has -0.32. So all four are made probabilities of grades. The ranked probability
# score (RPS) knows the order: a miss by one grade costs less than a miss by three. To the NLL all misses are the same.
grades = np.unique(y_train)


def of_grades(density):
    below = cdf(density, torch.tensor(grades[:-1, None] + 0.5)).T
    ends = torch.zeros(len(below), 1), torch.ones(len(below), 1)
    return Categorical(probs=torch.diff(below, prepend=ends[0], append=ends[1]))


predictions = {
    "classes": classes,
    **{name: of_grades(density) for name, density in densities.items()},
}
indices = np.searchsorted(grades, y_test)  # classes are numbered from 0
table = evaluate(predictions, None, indices, scores=["rps", "nll", "accuracy"])
print(table)

# %%
# One wine: the densities as lines, the probabilities of grades as dots, and what the tasters said. The two scales
# agree because a grade is one unit wide.
row = int(np.flatnonzero(y_test == 7)[0])
places = torch.linspace(3, 9, 400, dtype=torch.float64)
_, axes = plt.subplots(1, 4, figsize=(12, 3.2), sharey=True, layout="constrained")
for ax, (name, prediction) in zip(axes, predictions.items(), strict=True):
    if name in densities:
        height = densities[name].log_prob(places[:, None])[:, row].exp()
        ax.plot(places, height, color="C0", linewidth=1)
    ax.vlines(grades, 0, prediction.probs[row], color="black")
    ax.plot(grades, prediction.probs[row], "o", color="black")
    ax.plot(y_test[row], 0, "^", color="C3", markersize=9, clip_on=False)
    ax.set(title=name, xlabel="grade", xticks=grades)
axes[0].set(ylabel="probability, density", ylim=(0, None))
plt.show()

# %%
# Which is better, and can one rely on it? On the left the RPS less that of the classifier, row by row. On the right
# the probability that a wine gets a 7 or more, as the Gaussian mixture says it, and how often that came true.
_, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
ScoreComparisonDisplay(table, "rps").plot(left)
good = predictions["gaussian-mixture"].probs[:, grades >= 7].sum(1)
ReliabilityDisplay.from_predictions(Bernoulli(good), y_test >= 7, ax=right)
right.set_xlabel("probability of a 7 or more")
plt.show()
