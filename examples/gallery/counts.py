"""
Counts with and without overdispersion
======================================

You have counts, and do not know whether they vary more than a Poisson distribution allows. Fit several families and
look at scores and calibration: where counts are overdispersed the Poisson is too sure of itself, and where they are
not the negative binomial costs next to nothing.
"""

# %%
# The counts are simulated, so that the true distribution of every row is known. In both sets the mean depends on two
# features in the same way. The first set is Poisson. In the second the rate of each row is multiplied by a number that
# no feature explains, with the mean 1 and the variance 1/2: these counts are negative binomial.
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

from probmix import DensityRegressor
from probmix.plots import PITHistogramDisplay
from probmix.scores import evaluate

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (1600, 2))
rate = np.exp(1 + X[:, 0] + 0.5 * np.sin(3 * X[:, 1]))
train, test = slice(0, 800), slice(800, None)
counts = {
    "Poisson": rng.poisson(rate),
    "overdispersed": rng.poisson(rate * rng.gamma(2.0, 0.5, len(rate))),
}
truth = {
    "Poisson": stats.poisson(rate[test]),
    "overdispersed": stats.nbinom(2.0, 2.0 / (2.0 + rate[test])),
}

# %%
# Three families for each set, beside the truth. The column ``difference`` is what a family loses to the truth. A
# ``coverage90`` above 0.9 is no fault here: the interval of a count holds at least 90 %, and often more. A value below
# 0.9 is one.
settings = {"preset": "fast", "max_epochs": 16, "random_state": 0}
families = ["poisson", "negative-binomial", "poisson-mixture"]
predictions = {}
for kind, y in counts.items():
    predictions[kind] = {"truth": truth[kind]}
    for name in families:
        model = DensityRegressor(name, **settings).fit(X[train], y[train])
        predictions[kind][name] = model.predict_dist(X[test])
    table = evaluate(predictions[kind], None, y[test], scores=["nll", "coverage90"])
    print(f"{kind} counts\n{table}\n")

# %%
# What is wrong shows in histograms of the probability integral transform (PIT) of the overdispersed counts, which are
# flat where predictions are calibrated. That of the Poisson has the shape of a U: too many counts fall into the tails
# of their own distribution. The two others stay near the band.
_, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for ax, name in zip(axes, families, strict=True):
    predicted, y = predictions["overdispersed"][name], counts["overdispersed"][test]
    PITHistogramDisplay.from_predictions(predicted, y, ax=ax)
    ax.set_title(name)
    ax.label_outer()
axes[0].set_ylim(0.0, 3.0)
plt.show()

# %%
# And a single row, with a rate of 5: the true probabilities as bars, the predicted ones as lines. On the left all
# three agree with the truth. On the right the Poisson misses the zeros and the large counts.
row, places = np.abs(rate[test] - 5).argmin(), np.arange(19)
_, axes = plt.subplots(1, 2, figsize=(11, 3.8), sharey=True, layout="constrained")
# sphinx_gallery_thumbnail_number = 2
for ax, (kind, found) in zip(axes, predictions.items(), strict=True):
    ax.bar(places, truth[kind].pmf(places[:, None])[:, row], color="0.85", label="truth")
    for name, style in zip(families, ("o:", "s-", "^--"), strict=True):
        log_prob = found[name].log_prob(torch.tensor(places)[:, None].double())
        ax.plot(places, log_prob[:, row].exp(), style, markersize=4, label=name)
    ax.set(title=f"{kind} counts", xlabel="count", ylabel="probability")
    ax.set_xticks(places[::3])
    ax.label_outer()
axes[0].legend(frameon=False)
plt.show()
