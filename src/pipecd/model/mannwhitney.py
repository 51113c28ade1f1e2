"""The Mann–Whitney U test: whether one sample tends to have greater or smaller values than another.

Exact up to `MAX_EXACT` values a side, also with ties; otherwise by the normal approximation with corrections
for ties and continuity.
"""

import math
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from itertools import accumulate

#: Values of each sample for which all arrangements are counted.
MAX_EXACT = 50


class Alternative(Enum):
    """What is tested: that the first sample differs, is greater, or is less."""

    DIFFERENT = "EITHER"
    GREATER = "HIGH"
    LESS = "LOW"


def mann_whitney(first: Sequence[float], second: Sequence[float], alternative: Alternative) -> float:
    """The p-value: how likely such samples are if both have the same distribution. Neither may be empty."""
    ranks = _doubled_ranks([*first, *second])
    observed = sum(ranks[value] for value in first)
    if max(len(first), len(second)) <= MAX_EXACT:
        less, greater = _exact([ranks[value] for value in (*first, *second)], len(first), observed)
    else:
        less, greater = _approximate(first, second, observed / 2)
    match alternative:
        case Alternative.LESS:
            return less
        case Alternative.GREATER:
            return greater
        case Alternative.DIFFERENT:
            return min(1.0, 2 * min(less, greater))


def _doubled_ranks(values: Sequence[float]) -> dict[float, int]:
    """Twice the rank of each value: a whole number also for ties, which have the mean of their ranks."""
    counts = sorted(Counter(values).items())
    ends = accumulate(count for _, count in counts)
    return {value: 2 * end - count + 1 for (value, count), end in zip(counts, ends, strict=True)}


def _exact(ranks: Sequence[int], size: int, observed: int) -> tuple[float, float]:
    """The shares of all choices of `size` ranks whose sum is at most, and at least, `observed`.

    `ways[k]` is a polynomial: its coefficient of the power s is the number of choices of k ranks with the sum
    s. All coefficients are digits of one integer, so that adding polynomials is adding integers.
    """
    digit = math.comb(len(ranks), size).bit_length() + 1
    ways = [1] + [0] * size
    for rank in ranks:
        for chosen in range(size, 0, -1):
            ways[chosen] += ways[chosen - 1] << (digit * rank)
    total = math.comb(len(ranks), size)
    at_most = _sum_of_digits(ways[size] & ((1 << digit * (observed + 1)) - 1), digit)
    below = _sum_of_digits(ways[size] & ((1 << digit * observed) - 1), digit)
    return at_most / total, (total - below) / total


def _sum_of_digits(number: int, digit: int) -> int:
    # Of a number in base b, the sum of the digits is the remainder of the division by b - 1, if it is less.
    return number % ((1 << digit) - 1)


def _approximate(first: Sequence[float], second: Sequence[float], rank_sum: float) -> tuple[float, float]:
    n1, n2 = len(first), len(second)
    n = n1 + n2
    ties = sum(count**3 - count for count in Counter([*first, *second]).values())
    deviation = math.sqrt(n1 * n2 / 12 * (n + 1 - ties / (n * (n - 1))))
    difference = rank_sum - n1 * (n1 + 1) / 2 - n1 * n2 / 2
    if not deviation:
        return 1.0, 1.0
    less = _normal((difference + 0.5) / deviation)
    greater = _normal(-(difference - 0.5) / deviation)
    return less, greater


def _normal(z: float) -> float:
    """The distribution function of the standard normal distribution."""
    return 0.5 * math.erfc(-z / math.sqrt(2))
