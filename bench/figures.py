"""Prints figures: median, 95th percentile, and whether the target, if any, is met."""

import os
import platform
import statistics
from collections.abc import Sequence


def describe_machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def percentile_95(values: Sequence[float]) -> float:
    return _percentile(values, 95)


def percentile_99(values: Sequence[float]) -> float:
    return _percentile(values, 99)


def report(name: str, values: Sequence[float], unit: str, *, target: float | None = None) -> None:
    """Print the statistics of `values`. `target` is the maximum of the 95th percentile."""
    line = (
        f"{name:<58} median {statistics.median(values):8.3f} {unit}   p95 {percentile_95(values):8.3f} {unit}"
    )
    print(f"{line}   n={len(values)}{_verdict(percentile_95(values), target, unit)}", flush=True)


def report_value(
    name: str,
    value: float,
    unit: str,
    *,
    maximum: float | None = None,
    minimum: float | None = None,
    digits: int = 1,
) -> None:
    """Print a single value, with its target `maximum` or `minimum` if given."""
    verdict = _verdict(value, maximum, unit)
    if minimum is not None:
        verdict = f"   target ≥ {minimum:g} {unit}: {'met' if value >= minimum else 'MISSED'}"
    print(f"{name:<58} {value:15.{digits}f} {unit}{verdict}", flush=True)


def _verdict(value: float, target: float | None, unit: str) -> str:
    if target is None:
        return ""
    return f"   target ≤ {target:g} {unit}: {'met' if value <= target else 'MISSED'}"


def _percentile(values: Sequence[float], percent: int) -> float:
    """Between samples, never beyond the largest one."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
