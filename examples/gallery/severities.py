"""
Costs with zeros
================

What will a policy cost in a year? Nothing for nine of ten, and a long tail for the others. A zero-adjusted family has
both in one density: the probability of no cost, and how large a cost is.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import TweedieRegressor
from sklearn.metrics import mean_tweedie_deviance
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from probmix import DensityRegressor
from probmix.datasets import example
from probmix.scores import evaluate

policies = example("severities")
print(policies.source)
X, X_test, y, y_test = train_test_split(policies.X, policies.y, test_size=0.3, random_state=0)
print(f"{(y == 0).mean():.1%} of the policies cost nothing, the dearest {y.max():,.0f}")

# %%
# Two families for the costs above zero, with heavy and with light tails. The log score tells which one fits.
models = {
    family: DensityRegressor(family, preset="fast", random_state=0).fit(X, y)
    for family in ("zero-adjusted-lognormal", "zero-adjusted-gamma")
}
print(evaluate(models, X_test, y_test, scores=["nll", "crps"]))

# %%
# The usual tool, a Tweedie GLM, gives the mean and nothing else. By its own measure:
encoder = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include="number")),
    (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
)
glm = make_pipeline(encoder, TweedieRegressor(power=1.5, alpha=1e-3, max_iter=10_000)).fit(X, y)
for name, model in {**models, "Tweedie GLM": glm}.items():
    print(f"{name}: mean Tweedie deviance {mean_tweedie_deviance(y_test, model.predict(X_test), power=1.5):.2f}")

# %%
# What a reinsurer asks: how often will a policy cost more than a limit? On the left the curves of two policies; where
# they begin is the probability of any cost. On the right the mean of the curves of all test policies beside the share
# that did cost more: the tail of the gamma is too light for the largest costs.
limits = torch.logspace(1, 5, 60, dtype=torch.float64)
above = {name: 1 - model.predict_dist(X_test).cdf(limits[:, None]).numpy() for name, model in models.items()}
chosen = np.argsort(above["zero-adjusted-lognormal"][0])[[len(X_test) // 10, -len(X_test) // 50]]

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for row, style, label in zip(chosen, ("--", "-"), ("careful driver", "risky driver"), strict=True):
    left.plot(limits, above["zero-adjusted-lognormal"][:, row], style, color="C0", label=label)
left.set(xscale="log", yscale="log", xlabel="limit", ylabel="probability of a cost above the limit", ylim=(3e-5, 0.6))
left.legend()
right.step(limits, (np.asarray(y_test) > limits.numpy()[:, None]).mean(1), color="k", linewidth=2.5, label="observed")
for (name, curves), style in zip(above.items(), ("-", ":"), strict=True):
    right.plot(limits, curves.mean(1), style, linewidth=2, label=name)
right.set(xscale="log", xlabel="limit")
right.legend()
plt.show()
