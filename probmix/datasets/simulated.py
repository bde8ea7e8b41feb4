"""Simulated data sets."""

import numpy as np
from numpy.typing import NDArray


def toy_cubic(
    n: int = 100, low: float = -4.0, high: float = 4.0, random_state: int | np.random.Generator | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""The cubic toy regression, :math:`y = x^3 + \varepsilon`, :math:`\varepsilon \sim N(0, 9)`.

    Parameters
    ----------
    n : int
    low, high : float
        x is uniform between them. The usual training data lie in (-4, 4), the test band out of distribution is (4, 6).
    random_state : int, Generator or None

    Returns
    -------
    X : ndarray, (n, 1)
    y : ndarray, (n,)

    References
    ----------
    Hernández-Lobato and Adams (2015), Probabilistic backpropagation for scalable learning of Bayesian neural networks,
    ICML.
    """
    random = np.random.default_rng(random_state)
    x = random.uniform(low, high, n)
    return x[:, np.newaxis], x**3 + random.normal(0.0, 3.0, n)


def three_rings(
    n: int = 100, random_state: int | np.random.Generator | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    r"""Three noisy rings in the plane, the toy classification of the ProbMix paper.

    .. math:: x = r_y\,(\cos\varphi, \sin\varphi) + \varepsilon,\quad r = (0.5, 1.5, 2.5),\quad
              \varphi \sim U(0, 2\pi),\quad \varepsilon \sim N(0, 0.09\,I)

    Parameters
    ----------
    n : int
        Number of points; every ring has its third, as far as whole points allow, and rows are in random order.
    random_state : int, Generator or None

    Returns
    -------
    X : ndarray, (n, 2)
    y : ndarray of int, (n,)
        The ring: 0, 1 or 2, from the inside out.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, figure 15.
    """
    random = np.random.default_rng(random_state)
    y = random.permutation(np.arange(n) % 3)
    angle = random.uniform(0.0, 2 * np.pi, n)
    ring = (y + 0.5)[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    return ring + random.normal(0.0, 0.3, (n, 2)), y


def overdispersed_counts(
    n: int = 1000, random_state: int | np.random.Generator | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    r"""Simulated counts that vary more than a Poisson distribution allows.

    .. math::
        y \sim \mathrm{Poisson}(g\,\mu(x)),\quad g \sim \mathrm{Gamma}(3, 3),\quad
        \log\mu(x) = 1 + x_1 + \tfrac12\sin(\pi x_2) + x_1 x_3

    with four features uniform on (-1, 1), the last of which says nothing. The counts are negative binomial with mean
    :math:`\mu` and variance :math:`\mu + \mu^2/3`.

    Parameters
    ----------
    n : int
    random_state : int, Generator or None

    Returns
    -------
    X : ndarray, (n, 4)
    y : ndarray of int, (n,)
    """
    random = np.random.default_rng(random_state)
    X = random.uniform(-1.0, 1.0, (n, 4))
    x1, x2, x3, _ = X.T
    mean = np.exp(1 + x1 + 0.5 * np.sin(np.pi * x2) + x1 * x3)
    return X, random.poisson(mean * random.gamma(3.0, 1 / 3, n))
