"""
Claims with exposure
====================

How many claims will a policy have while it is insured? The exposure goes to ``fit`` beside the frame; the model learns
a rate per year, and answers with the probability of each number of claims in the time that you ask about.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import poisson
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from probmix import DensityRegressor
from probmix.datasets import example
from probmix.scores import evaluate

claims = example("claims")
print(claims.source)
X, X_test, y, y_test, years, years_test = train_test_split(
    claims.X, claims.y, claims.exposure, test_size=0.3, random_state=0
)

# %%
# The frame goes in as it is, with its text. Claims vary more than a Poisson distribution allows, so that the family is
# the negative binomial.
model = DensityRegressor("negative-binomial", preset="fast", random_state=0).fit(X, y, exposure=years)
print("claims in a year:", model.predict(X_test[:3]).round(3))

# %%
# The usual tool is a Poisson GLM of the frequency, here on splines of the numbers, with the exposure as a weight.
encoder = make_column_transformer(
    (SplineTransformer(), make_column_selector(dtype_include="number")),
    (OneHotEncoder(handle_unknown="ignore", min_frequency=20), make_column_selector(dtype_exclude="number")),
)
glm = make_pipeline(encoder, PoissonRegressor(alpha=1e-4, max_iter=1000))
glm = glm.fit(X, y / years, poissonregressor__sample_weight=years)

# %%
# Rates are compared by the deviance of the frequency, whole forecasts by the log score, with standard errors of the
# difference. With some two hundred claims in the test rows neither is sharp: read the errors.
rates = {"negative binomial": model.predict(X_test), "Poisson GLM": glm.predict(X_test)}
for name, rate in rates.items():
    print(f"{name}: deviance {mean_poisson_deviance(y_test / years_test, rate, sample_weight=years_test):.4f}")
counts = poisson(rates["Poisson GLM"] * years_test)  # of the time that each policy was insured
forecasts = {"negative binomial": model, "Poisson GLM": counts}
print(evaluate(forecasts, X_test, y_test, exposure=years_test, scores=["nll", "crps"]))

# %%
# On the left what a year may bring to an ordinary and to a risky policy: the bars are the model's, the points a Poisson
# distribution with the same mean, which leaves less for several claims. On the right whether
# "a claim or more" comes as often as predicted, in eight groups of the test policies, lowest probability first.
order = np.argsort(rates["negative binomial"])
picked = X_test.iloc[order[[len(order) // 2, -len(order) // 200]]]
numbers = np.arange(5)
year = model.predict_dist(picked, exposure=np.ones(2))
chances = year.log_prob(torch.tensor(numbers)[:, None]).exp().numpy()
same_mean = torch.distributions.Poisson(year.mean).log_prob(torch.tensor(numbers)[:, None]).exp().numpy()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for place, (label, color) in enumerate({"ordinary": "0.75", "risky": "C0"}.items()):
    left.bar(numbers + 0.4 * (place - 0.5), chances[:, place], width=0.38, color=color, label=label)
    left.plot(numbers + 0.4 * (place - 0.5), same_mean[:, place], "D", color="C1", markeredgecolor="k", markersize=5)
left.set(yscale="log", ylim=(1e-5, 1.5), xlabel="claims in a year", ylabel="probability", xticks=numbers)
left.legend()

at_least_one = 1 - model.predict_dist(X_test, exposure=years_test).log_prob(torch.zeros(len(y_test))).exp().numpy()
groups = np.array_split(np.argsort(at_least_one), 8)
promised = np.array([at_least_one[group].mean() for group in groups])
observed = np.array([(np.take(y_test, group) > 0).mean() for group in groups])
error = 2 * np.sqrt(promised * (1 - promised) / len(groups[0]))
right.errorbar(promised, observed, error, fmt="o", capsize=3)
right.axline((0, 0), slope=1, color="0.5", linestyle="--")
right.set(xlabel="predicted probability of a claim", ylabel="share with a claim, ± two errors")
plt.show()
