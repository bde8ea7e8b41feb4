"""The CRPS and the logarithmic score as textbooks have them, in mpmath: with digits enough nothing cancels.

Every function takes the parameters and y, in the precision of `mpmath.workdps`.
"""

import functools
import itertools

import mpmath
from mpmath import mpf


def normal_cdf(z: mpf) -> mpf:
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def gamma_tails(a: mpf, x: mpf) -> tuple[mpf, mpf]:
    """Regularised incomplete gamma functions, lower and upper: a series of positive terms, far up a fraction."""
    kernel = mpmath.exp(a * mpmath.log(x) - x - mpmath.loggamma(a + 1))
    if x < a + 10 * mpmath.sqrt(a) + 20:
        term = total = mpf(1)
        for k in itertools.count(1):
            term *= x / (a + k)
            total += term
            if term < mpmath.eps * total:
                break
        return kernel * total, 1 - kernel * total
    # Lentz's form of DLMF 8.9.2
    b = x + 1 - a
    c, d = mpf(10) ** 300, 1 / b
    value = d
    for k in itertools.count(1):
        b += 2
        d = 1 / (b + k * (a - k) * d)
        c = b + k * (a - k) / c
        value *= c * d
        if abs(c * d - 1) < mpmath.eps:
            break
    upper = kernel * a * value
    return 1 - upper, upper


def normal_crps(loc: mpf, scale: mpf, y: mpf) -> mpf:
    z = (y - loc) / scale
    return scale * (z * mpmath.erf(z / mpmath.sqrt(2)) + 2 * mpmath.npdf(z) - 1 / mpmath.sqrt(mpmath.pi))


def normal_nll(loc: mpf, scale: mpf, y: mpf) -> mpf:
    return ((y - loc) / scale) ** 2 / 2 + mpmath.log(scale) + mpmath.log(2 * mpmath.pi) / 2


def lognormal_crps(loc: mpf, scale: mpf, y: mpf) -> mpf:
    z, root = (mpmath.log(y) - loc) / scale, mpmath.sqrt(2)
    rest = normal_cdf(z - scale) + normal_cdf(scale / root) - 1
    return y * (2 * normal_cdf(z) - 1) - 2 * mpmath.exp(loc + scale**2 / 2) * rest


def lognormal_nll(loc: mpf, scale: mpf, y: mpf) -> mpf:
    return normal_nll(loc, scale, mpmath.log(y)) + mpmath.log(y)


def exponential_crps(rate: mpf, y: mpf) -> mpf:
    return y + 2 * mpmath.expm1(-rate * y) / rate + 1 / (2 * rate)


def exponential_nll(rate: mpf, y: mpf) -> mpf:
    return rate * y - mpmath.log(rate)


def gamma_crps(a: mpf, b: mpf, y: mpf) -> mpf:
    below, shifted = gamma_tails(a, b * y)[0], gamma_tails(a + 1, b * y)[0]
    return y * (2 * below - 1) - a / b * (2 * shifted - 1) - 1 / (b * mpmath.beta(mpf(1) / 2, a))


def gamma_nll(a: mpf, b: mpf, y: mpf) -> mpf:
    return mpmath.loggamma(a) - a * mpmath.log(b) - (a - 1) * mpmath.log(y) + b * y


def beta_crps(a: mpf, b: mpf, y: mpf) -> mpf:
    below, shifted = (mpmath.betainc(s, b, 0, y, regularized=True) for s in (a, a + 1))
    spread = 2 * mpmath.beta(2 * a, 2 * b) / (a * mpmath.beta(a, b) ** 2)
    return y * (2 * below - 1) - a / (a + b) * (2 * shifted - 1 + spread)


def beta_nll(a: mpf, b: mpf, y: mpf) -> mpf:
    return mpmath.log(mpmath.beta(a, b)) - (a - 1) * mpmath.log(y) - (b - 1) * mpmath.log(1 - y)


def poisson_crps(rate: mpf, y: mpf) -> mpf:
    below, at_y = gamma_tails(y + 1, rate)[1], mpmath.exp(-poisson_nll(rate, y))
    bessel = mpmath.besseli(0, 2 * rate) + mpmath.besseli(1, 2 * rate)
    return (y - rate) * (2 * below - 1) + 2 * rate * at_y - rate * mpmath.exp(-2 * rate) * bessel


def poisson_nll(rate: mpf, y: mpf) -> mpf:
    return rate - y * mpmath.log(rate) + mpmath.loggamma(y + 1)


@functools.cache
def negative_binomial_spread(mean: mpf, r: mpf) -> mpf:
    """Half of the mean distance of two draws (Wei and Held 2014), by tanh-sinh quadrature of Euler's integral."""
    m = mean / r
    z = 4 * m * (1 + m)
    end = min(mpmath.asinh(mpmath.sqrt(z)), 12 / mpmath.sqrt(r) + 60 / (2 * r))

    def integrand(u: mpf) -> mpf:
        return mpmath.sqrt(abs(1 - mpmath.sinh(u) ** 2 / z)) * mpmath.cosh(u) ** (-2 * r - 1) / mpmath.sqrt(z)

    return mean * (1 + m) * 4 / mpmath.pi * mpmath.quad(integrand, mpmath.linspace(0, end, 12))


def negative_binomial_crps(mean: mpf, dispersion: mpf, y: mpf) -> mpf:
    """For a whole number 1 / dispersion, r: more than y failures before r successes are less than r in y + r trials."""
    r = 1 / dispersion
    success, failure = r / (r + mean), mean / (r + mean)
    term = failure ** (y + r)
    above = term
    for j in range(1, int(r)):
        term *= (y + r - j + 1) / j * success / failure
        above += term
    at_y = mpmath.exp(-negative_binomial_nll(mean, dispersion, y))
    distance = (y - mean) * (1 - 2 * above) + 2 * mean * (1 + dispersion * y) * at_y
    return distance - negative_binomial_spread(mean, r)


def negative_binomial_nll(mean: mpf, dispersion: mpf, y: mpf) -> mpf:
    r = 1 / dispersion
    rest = r * mpmath.log(r / (r + mean)) + y * mpmath.log(mean / (r + mean))
    return mpmath.loggamma(r) + mpmath.loggamma(y + 1) - mpmath.loggamma(y + r) - rest
