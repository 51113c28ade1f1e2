"""The test against all arrangements, PipeCD's values, and SciPy."""

import itertools
import random

import pytest

from pipecd.model.mannwhitney import Alternative, mann_whitney

LESS, DIFFERENT, GREATER = Alternative.LESS, Alternative.DIFFERENT, Alternative.GREATER
SMALL = [2.0, 1, 3, 5]
LARGE = [float(value) for value in range(0, 1000, 2)]
SHIFTED = [value * 2.0 - 41 for value in range(600)]


@pytest.mark.parametrize(
    ("first", "second", "less", "different", "greater"),
    [
        (SMALL, [12, 11, 13, 15], 0.0142857, 0.0285714, 1),
        (SMALL, [0, 4, 6, 7], 0.2428571, 0.4857143, 0.8285714),
        (SMALL, SMALL, 0.6285714, 1, 0.6285714),
        (SMALL, [2, 2, 2, 2], 0.8571429, 0.7142857, 0.3571429),
        # PipeCD's is 0 here: it assumes a symmetric distribution.
        (SMALL, [1, 1, 1, 1, 1], 1, 0.0952381, 0.0476190),
        (LARGE, SHIFTED, 0.00246677, 0.00493354, 0.99753469),
        (LARGE, [*LARGE[:30], *SHIFTED[30:]], 0.00193519, 0.00387038, 0.99806598),
    ],
)
def test_known_values(
    first: list[float], second: list[float], less: float, different: float, greater: float
) -> None:
    assert mann_whitney(first, second, LESS) == pytest.approx(less, rel=1e-5)
    assert mann_whitney(first, second, DIFFERENT) == pytest.approx(different, rel=1e-5)
    assert mann_whitney(first, second, GREATER) == pytest.approx(greater, rel=1e-5)


def test_it_counts_all_arrangements_also_with_ties() -> None:
    numbers = random.Random(1)
    for _ in range(60):
        first = [float(numbers.randint(0, 4)) for _ in range(numbers.randint(1, 5))]
        second = [float(numbers.randint(0, 4)) for _ in range(numbers.randint(1, 5))]
        pooled = first + second
        sums = [
            _u([pooled[i] for i in chosen], [pooled[i] for i in range(len(pooled)) if i not in chosen])
            for chosen in itertools.combinations(range(len(pooled)), len(first))
        ]
        observed = _u(first, second)
        assert mann_whitney(first, second, LESS) == pytest.approx(
            sum(value <= observed for value in sums) / len(sums)
        )
        assert mann_whitney(first, second, GREATER) == pytest.approx(
            sum(value >= observed for value in sums) / len(sums)
        )


def _u(first: list[float], second: list[float]) -> float:
    return sum((a > b) + 0.5 * (a == b) for a in first for b in second)


def _sample(seed: int, size: int, shift: float) -> list[float]:
    values = []
    for _ in range(size):
        seed = (seed * 1103515245 + 12345) % 2**31
        values.append(seed / 2**31 + shift)
    return values


@pytest.mark.parametrize(
    ("sizes", "less", "different", "greater"),
    [
        ((12, 9), 0.016932603000714457, 0.033865206001428914, 0.9860885244786174),
        ((50, 50), 0.08380640084046619, 0.16761280168093237, 0.9172543572558612),
        ((80, 60), 0.004953044995332357, 0.009906089990664713, 0.9951070050635066),
    ],
)
def test_it_agrees_with_scipy(sizes: tuple[int, int], less: float, different: float, greater: float) -> None:
    """Values of `scipy.stats.mannwhitneyu` 1.18: exact without ties, and for large samples."""
    first, second = _sample(1, sizes[0], 0), _sample(7, sizes[1], 0.15)
    assert mann_whitney(first, second, LESS) == pytest.approx(less, rel=1e-9)
    assert mann_whitney(first, second, DIFFERENT) == pytest.approx(different, rel=1e-9)
    assert mann_whitney(first, second, GREATER) == pytest.approx(greater, rel=1e-9)
