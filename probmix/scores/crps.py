"""The continuous ranked probability score: in closed form where there is one."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .._given import Numbers
from ..distributions.parts import to_dtype_of
from ..distributions.scoring import marginal_crps
from ._inputs import checked, mean_over_event


def crps(distribution: Any, y: Numbers) -> Tensor:
    r"""Continuous ranked probability score, in the unit of y; smaller is better.

    .. math:: \mathrm{CRPS}(F, y) = \int (F(x) - 1[x \ge y])^2\,dx = E|Y - y| - \tfrac12 E|Y - Y'|

    Parameters
    ----------
    distribution : distribution, or what else `probmix.adapters.as_distribution` takes
        Closed form for Normal, also multivariate, Student t, Poisson, negative binomial, Gamma, Exponential, LogNormal,
        Beta, Bernoulli and Categorical, for zero-inflated, hurdle and zero-adjusted distributions of these, and for
        mixtures of Normals, Exponentials, LogNormals, Bernoullis, Categoricals and draws; else from the cdf.
    y : array-like, broadcastable to batch shape + event shape
        Whole numbers where the distribution is discrete.

    Returns
    -------
    Tensor, (*batch_shape,), in the dtype of the distribution
        One value per row. For several targets: the mean of the CRPS of their marginals.

    Raises
    ------
    ValueError
        If `y` has another shape, is not finite, or no whole number where the distribution is discrete.
    NotImplementedError
        If there is no closed form and the distribution has no cdf or quantiles.

    Notes
    -----
    With :math:`z = (y - \mu)/\sigma`, cdf F, probability or density f, and :math:`\Phi, \varphi` of N(0, 1):

    - Normal: :math:`\sigma\,[z(2\Phi(z) - 1) + 2\varphi(z) - 1/\sqrt\pi]`;
    - mixtures of Normals: :math:`\sum_i w_i A(y - \mu_i, \sigma_i) - \tfrac12\sum_{ij} w_i w_j A(\mu_i - \mu_j,
      (\sigma_i^2 + \sigma_j^2)^{1/2})`, where :math:`A(m, s) = 2 s\varphi(m/s) + m(2\Phi(m/s) - 1)`;
    - Poisson: :math:`(y - r)(2F(y) - 1) + 2 r f(y) - r e^{-2r}(I_0(2r) + I_1(2r))`;
    - negative binomial of mean :math:`\mu` and dispersion :math:`\alpha`: :math:`(y - \mu)(2F(y) - 1) + 2\mu(1 +
      \alpha y)f(y) - \mu(1 + \alpha\mu)\,{}_2F_1(\tfrac12, 1 + 1/\alpha; 2; -4\alpha\mu(1 + \alpha\mu))`; relative
      errors grow below means of 1e-6, to 1e-6;
    - zero-inflated, of a cdf :math:`\pi + (1 - \pi)F`: :math:`\pi y + (1 - \pi)[\mathrm{CRPS}(F, y) -
      \pi\,\mathrm{CRPS}(F, 0)]`, and zero-adjusted alike; hurdles with the :math:`\pi` that makes their cdf one of this
      form;
    - Gamma of mean :math:`\mu = a/b`: :math:`(y - \mu)(2F(y) - 1) + 2 y f(y)/b - \mu/(a B(\tfrac12, a))`;
    - Exponential: :math:`|y| - 2F(y)/r + 1/(2r)`;
    - LogNormal: :math:`y(2\Phi(z) - 1) - 2e^{\mu + \sigma^2/2}[\Phi(z - \sigma) + \Phi(\sigma/\sqrt2) - 1]` with
      :math:`z = (\log y - \mu)/\sigma`;
    - Student t of :math:`\nu` degrees of freedom: :math:`\sigma\,[z(2F(z) - 1) + 2 f(z)\frac{\nu + z^2}{\nu - 1} -
      \frac{2\sqrt\nu}{\nu - 1} B(\tfrac12, \nu - \tfrac12)/B(\tfrac12, \tfrac\nu2)^2]`, infinite up to one half;
    - Beta of mean :math:`\mu`: :math:`(y - \mu)(2F(y) - 1) + \frac2{a + b}\,[y(1 - y)f(y) - B(2a, 2b)/B(a, b)^2]`;
    - Bernoulli: :math:`(y - p)^2`, the Brier score of a one;
    - Categorical: the ranked probability score :math:`\sum_k (F(k) - 1[y \le k])^2`, which is the CRPS of the class
      index and so is not divided by the number of classes less one; it means something where classes are ordered;
    - other discrete distributions: the same sum over all but 1e-12 of the mass in either tail. For mixtures of Poissons
      it is exact up to 256 and for those of negative binomials up to 16,384, zero-inflated and hurdles as well; beyond,
      quadrature with the Euler-Maclaurin correction (1e-8 relative) replaces it;
    - mixtures of Exponentials: :math:`|y| - 2\sum_i w_i F_i(y)/r_i + \sum_{ij} w_i w_j/(r_i + r_j)`;
    - mixtures of Gammas: :math:`\sum_i w_i E|X_i - y| - \tfrac12\sum_{ij} w_i w_j E|X_i - X_j|` with :math:`E|X - X'| =
      (\mu - \mu')(1 - 2 I_s(a, a')) + 2\frac{s^a(1 - s)^{a'}}{B(a, a')}(1/b + 1/b')`, :math:`s = b/(b + b')`;
    - mixtures of LogNormals: :math:`y(2F(y) - 1) - 2\sum_i w_i m_i\Phi(z_i - \sigma_i) + 2\sum_{ij} w_i w_j m_i
      \Phi((\mu_j - \mu_i - \sigma_i^2)/(\sigma_i^2 + \sigma_j^2)^{1/2})` with the means :math:`m_i`;
    - other continuous distributions: adaptive quadrature of the integral between the same quantiles, to 1e-10 relative
      where the cdf is known that well; mixtures of Betas: quadrature of the density as well, to 1e-9 relative. Blends,
      and mixtures of Student's t and of Tweedie distributions: with panels of each row's own, and of Student's t from
      the density between cdfs at the ends of the panels.

    At a scale that is tiny beside y the score is the distance to y, to rounding in y; `crps_with_bound` tells how much
    that is. Targets outside of the support count with their distance to it; NaN raises.

    All are evaluated in float64 and differentiable in the parameters where the cdf is; Poissons, Gammas and their
    mixtures once.

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102, 359-378.
    Grimit et al. (2006), The continuous ranked probability score for circular variables, QJRMS 132, 2925-2942.
    Wei and Held (2014), Calibration tests for count data, TEST 23, 787-805 (Poisson, negative binomial).
    Scheuerer and Möller (2015), Probabilistic wind speed forecasting on a grid, Ann. Appl. Stat. 9, 1328-1349 (Gamma).
    Baran and Lerch (2015), Log-normal distribution based EMOS models, QJRMS 141, 2289-2299 (LogNormal).
    Jordan, Krüger and Lerch (2019), Evaluating probabilistic forecasts with scoringRules, J. Stat. Software 90(12).

    Examples
    --------
    >>> import torch
    >>> from probmix import linear_pool
    >>> from probmix.distributions import Poisson
    >>> from probmix.scores import crps
    >>> crps(torch.distributions.Normal(torch.zeros(2), 1.0), torch.tensor([0.0, 3.0]))
    tensor([0.2337, 2.4366])
    >>> crps(linear_pool(Poisson(torch.tensor([[1.0, 3.0]])), torch.tensor([0.5, 0.5])), torch.tensor([2.0]))
    tensor([0.4156])
    """
    distribution, y = checked(distribution, y)
    return to_dtype_of(distribution, mean_over_event(distribution, marginal_crps(distribution, y.double())))
