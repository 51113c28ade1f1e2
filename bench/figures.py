"""How figures are told: median, 95th percentile, and the target where there is one."""

import os
import platform
import statistics
from collections.abc import Sequence


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def report(name: str, values: Sequence[float], unit: str, *, target: float | None = None) -> None:
    """`target` is what the 95th percentile must not exceed."""
    line = f"{name:<58} median {statistics.median(values):8.3f} {unit}   p95 {p95(values):8.3f} {unit}"
    print(f"{line}   n={len(values)}{_verdict(p95(values), target, unit)}", flush=True)


def report_value(
    name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None
) -> None:
    verdict = _verdict(value, most, unit)
    if least is not None:
        verdict = f"   target ≥ {least:g} {unit}: {'met' if value >= least else 'MISSED'}"
    print(f"{name:<58} {value:15.1f} {unit}{verdict}", flush=True)


def _verdict(value: float, target: float | None, unit: str) -> str:
    if target is None:
        return ""
    return f"   target ≤ {target:g} {unit}: {'met' if value <= target else 'MISSED'}"
