"""
Patients with groups
====================

How ill is a new patient, by recordings of the voice? A patient has many recordings. A model that is judged by other
recordings of the same patients promises much and says little about the next one: tell ``fit`` the groups.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from probmix import DensityRegressor
from probmix.datasets import example
from probmix.scores import coverage, crps

patients = example("patients")
print(patients.source)
X, y, subject = patients.X, patients.y, patients.groups
train, test = next(GroupShuffleSplit(test_size=0.33, random_state=0).split(X, y, subject))
print(f"{len(set(subject[train]))} patients train, {len(set(subject[test]))} are new")

# %%
# Two models differ in one word: for the second all recordings of a patient lie in one fold. The fold that does not
# train a network says when to stop, so that groups change what is learned, too. A warning that members never beat the
# distribution of y without X would mean what it says: voices of 28 patients tell little of the others.
models = {
    "random folds": DensityRegressor("gaussian", preset="fast", random_state=0),
    "folds of patients": DensityRegressor("gaussian", preset="fast", random_state=0),
}
models["random folds"].fit(X.iloc[train], y[train])
models["folds of patients"] = models["folds of patients"].fit(X.iloc[train], y[train], groups=subject[train])

# %%
# Predictions out of folds are what each promises; then come the new patients. The CRPS is in points of the score, and
# a forecast that ignores the voice is the measure of both.
errors = {}
for name, model in models.items():
    promised, came = model.oof_dist(), model.predict_dist(X.iloc[test])
    errors[name] = float(crps(promised, y[train]).mean()), float(crps(came, y[test]).mean())
    shares = coverage(promised, y[train], 0.9).mean(), coverage(came, y[test], 0.9).mean()
    print(
        f"{name}: CRPS promised {errors[name][0]:.2f}, came {errors[name][1]:.2f}; "
        f"90 % intervals hold {shares[0]:.0%} out of folds, {shares[1]:.0%} of new patients"
    )
spread = np.abs(y[train][:, None] - y[train]).mean() / 2
ignorant = np.abs(y[test][:, None] - y[train]).mean() - spread
print(f"without the voice: CRPS {ignorant:.2f}")

# %%
# On the left promises and what came. On the right one recording of each new patient: the model of random folds is sure
# of itself and often wrong.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(2, 3), layout="constrained")
for place, (color, label) in enumerate({"0.8": "promised", "C0": "new patients"}.items()):
    left.bar(
        np.arange(2) + 0.4 * place - 0.2, [pair[place] for pair in errors.values()], 0.38, color=color, label=label
    )
left.axhline(ignorant, color="k", linestyle="--", label="without the voice")
left.set(ylabel="CRPS, points of the score", xticks=range(2), xticklabels=errors)
left.legend()

one = [test[np.flatnonzero(subject[test] == patient)[0]] for patient in np.unique(subject[test])]
one = np.array(one)[np.argsort(y[one])]
for shift, (name, model), color in zip((-0.15, 0.15), models.items(), ("C1", "C0"), strict=True):
    low, high = model.predict_interval(X.iloc[one], coverage=0.9).T
    right.vlines(np.arange(len(one)) + shift, low, high, color=color, linewidth=4, label=f"90 %, {name}")
right.plot(y[one], "k_", markersize=12, markeredgewidth=2, label="observed")
right.set(xlabel="new patients, by their score", ylabel="score", xticks=[])
right.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
plt.show()
