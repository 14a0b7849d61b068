"""Quantiles of the beta distribution and of Student's t, by the standard library alone."""

import math


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) for a, b > 0 (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    # The continued fraction converges fast only below the mean; the other side is its mirror image.
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return x with I_x(a, b) = `probability`, to the last bit, by bisection."""
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return middle


def student_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t for a probability above 0.5."""
    # P(|T| > t) is the incomplete beta function of freedom / (freedom + t^2).
    x = beta_quantile(2 * (1 - probability), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Evaluate 1 / (1 + d1 / (1 + d2 / ...)) by the modified Lentz algorithm."""
    tiny = 1e-300
    fraction, c, d = 1.0, 1.0, 0.0
    for term in range(1, 10_000):
        m = term // 2
        if term % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / (1.0 + coefficient * d or tiny)
        c = 1.0 + coefficient / c or tiny
        fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return 1.0 / fraction
