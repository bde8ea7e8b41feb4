"""The contracts of a family as one check, for the families of this package and for anyone else's."""

import torch

from ..families import ExponentialFamily, Family
from .cases import DRAWS, ROWS, Case, draw, ordinary
from .density_contracts import DENSITY_CONTRACTS, check_density_label, check_stretch
from .distribution_contracts import DISTRIBUTION_CONTRACTS
from .exponential_contracts import EXPONENTIAL_CONTRACTS

__all__ = ["check_family"]


def check_family(family: Family, seed: int = 0) -> None:
    r"""Check that a family keeps the contracts on which the rest of the package relies.

    No reference implementation is needed: the contracts tie the methods to each other, to the distribution, and to
    integrals (sums for discrete families) over its support. Those of any family concern

    - the object: a name, positive sizes, frozen, hashable, equal to its pickled copy;
    - links: `constrain` and `expected_nll` are finite with finite gradients in float32 for network outputs up to 3e38,
      and `constrain` undoes `unconstrain`;
    - densities: `log_prob` is that of `distribution`, in both precisions, and the total mass is one;
    - labels: the losses of point labels, of linear pools and at the vertices of the simplex;
    - targets: `marginal_params` finds the mean, `rescale` is a change of variables, `raw_bounds` leaves room for the
      parameters that targets were drawn from, `check_targets` refuses NaN, and an exposure, where there is such,
      multiplies the mean;
    - distance: `stretch` is the same in all units, and its factors multiply;
    - the cdf: it rises from 0 to 1, in both precisions, and is the integral of the density or the sum of probabilities;
    - quantiles: `icdf` is the inverse of the cdf, and the smallest value that reaches the level where the cdf jumps;
    - draws: they have the cdf, by a bound that chance does not break, and are independent of each other and of other
      rows;
    - point masses: `atoms` names the jumps of the cdf, and `log_prob` and the draws agree;
    - `mean` and `variance`; the scores that are registered for the distribution, also of mixtures of two and between
      thresholds, against their general forms.

    Those of exponential families concern

    - the form: `log_prob` is :math:`\eta\cdot T(y) - A(\eta) + \log h(y)`, and `natural_params` undoes `distribution`;
    - moments: `mean_params` is the gradient of `log_normalizer` and the expectation of `sufficient_statistics`;
    - pooling: the weighted mean of 2 to 5 natural parameters is the normalised product of powers of the densities;
    - gradients: `residual` is that of `log_prob`, and what `expected_nll` has for a gradient;
    - the calibrated label: its gradient, which does not reach the predictions of the points, and residuals of mean
      zero at the truth.

    Families of vectors have those that are neither integrals over the support nor of the cdf, and one of their own:
    the losses of densities as labels, `density_label`, are means over draws of these.

    Parameters
    ----------
    family : Family or ExponentialFamily
        Of scalar targets, on the real line, an interval, or integers, or of vectors.
    seed : int
        Of the natural parameters and draws; the global random state is left alone.

    Raises
    ------
    AssertionError
        With one line for every broken contract: its name and the numbers that disagree.

    Examples
    --------
    >>> from probmix import families
    >>> from probmix.testing import check_family
    >>> check_family(families.get("gamma"))
    """
    failures: dict[str, list[str]] = {}
    with torch.random.fork_rng(devices=[]):
        generator = torch.Generator().manual_seed(seed)
        torch.set_rng_state(generator.get_state())  # torch.manual_seed would reach the devices as well
        contracts = [*DENSITY_CONTRACTS.items()]
        # of vectors there is no cdf: their one contract of expectations is that of densities as labels
        contracts += [("density_label", check_density_label)] if family.event_dim else DISTRIBUTION_CONTRACTS.items()
        if isinstance(family, ExponentialFamily):
            contracts += EXPONENTIAL_CONTRACTS.items()
        contracts.append(("stretch", check_stretch))
        for name, contract in contracts:
            try:
                eta = ordinary(family, generator, ROWS)
                contract(Case(family, generator, eta, draw(family, eta, DRAWS)))
            except Exception as error:  # whatever a method raises, the reader wants to know during which contract
                failures.setdefault(name, []).append(str(error) if isinstance(error, AssertionError) else repr(error))
    if failures:
        lines = [f"- {name}: {'; '.join(found)}" for name, found in failures.items()]
        raise AssertionError("\n".join([f"{family!r} breaks {len(failures)} contract(s):", *lines]))
