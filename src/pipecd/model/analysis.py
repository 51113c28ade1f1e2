"""Judges the metrics of a new version while a deployment runs. Pure: the ANALYSIS stage collects the inputs.

A check queries one metric, log or URL once. Its verdict is about that moment; `conclude` says what all checks
of an entry mean for the deployment. Nothing is a success without data, unless the configuration says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from pipecd.model.mannwhitney import Alternative, mann_whitney

#: Significance level of comparisons, and the least number of values of each sample.
ALPHA, MIN_POINTS = 0.05, 3
#: Values that a comparison uses of each sample; the newest of more.
MAX_POINTS = 1000


class Strategy(Enum):
    THRESHOLD = "THRESHOLD"
    PREVIOUS = "PREVIOUS"
    CANARY_BASELINE = "CANARY_BASELINE"
    CANARY_PRIMARY = "CANARY_PRIMARY"


@dataclass(frozen=True)
class Point:
    """A value of a metric. `at` is in epoch seconds."""

    at: float
    value: float


class Verdict(Enum):
    """`NO_DATA`: the query found nothing. `ERROR`: it failed. `INCONCLUSIVE`: too few values to compare."""

    PASSED = "passed"
    FAILED = "failed"
    NO_DATA = "no-data"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of an entry. `why` is a sentence.

    `low`, `middle` and `high` are the least value, the median and the greatest; `other` is the median of what
    a comparison compares with.
    """

    at: float
    verdict: Verdict
    why: str
    low: float | None = None
    high: float | None = None
    middle: float | None = None
    other: float | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an entry tolerates. `errors` are errors of the provider in a row."""

    failures: int = 0
    errors: int = 4
    inconclusive: int | None = None
    skip_on_no_data: bool = False


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The checks of an entry so far, by verdict. `errors_in_row` counts since the last answer."""

    passed: int = 0
    failed: int = 0
    no_data: int = 0
    inconclusive: int = 0
    errors_in_row: int = 0
    last: Check | None = None

    def with_check(self, check: Check) -> "Tally":
        errors = self.errors_in_row + 1 if check.verdict is Verdict.ERROR else 0
        tally = replace(self, errors_in_row=errors, last=check)
        match check.verdict:
            case Verdict.PASSED:
                return replace(tally, passed=self.passed + 1)
            case Verdict.FAILED:
                return replace(tally, failed=self.failed + 1)
            case Verdict.NO_DATA:
                return replace(tally, no_data=self.no_data + 1)
            case Verdict.INCONCLUSIVE:
                return replace(tally, inconclusive=self.inconclusive + 1)
            case Verdict.ERROR:
                return tally


def judge_threshold(
    points: Sequence[Point], *, low: float | None, high: float | None, at: float, what: str
) -> Check:
    """Whether every value is from `low` to `high`, which may be None. `what` names the metric."""
    if not points:
        return Check(at=at, verdict=Verdict.NO_DATA, why=f"{what}: the query returned no data")
    values = [point.value for point in points]
    figures = _figures(values)
    outlier = next((point for point in points if not _within(point.value, low, high)), None)
    if outlier is None:
        why = f"{what}: {_values(values)} within {_range(low, high)}"
        return Check(at=at, verdict=Verdict.PASSED, why=why, **figures)
    side = "below" if low is not None and outlier.value < low else "above"
    limit = low if side == "below" else high
    why = f"{what}: {outlier.value:g} is {side} {limit:g}"
    return Check(at=at, verdict=Verdict.FAILED, why=why, **figures)


def judge_comparison(
    experiment: Sequence[Point],
    control: Sequence[Point],
    alternative: Alternative,
    *,
    at: float,
    what: str,
    other: str,
    alpha: float = ALPHA,
    min_points: int = MIN_POINTS,
    min_difference: float = 0.0,
) -> Check:
    """Whether the values of the experiment deviate from those of the control, which `other` names.

    `min_difference` is relative to the control's median: a smaller difference is no deviation.
    """
    if not experiment or not control:
        missing = "the new version" if not experiment else other
        return Check(at=at, verdict=Verdict.NO_DATA, why=f"{what}: the query returned no data for {missing}")
    new = [point.value for point in experiment[-MAX_POINTS:]]
    old = [point.value for point in control[-MAX_POINTS:]]
    figures = {**_figures(new), "other": _median(old)}
    medians = f"median {_median(new):g}, {other} {_median(old):g}"
    if min(len(new), len(old)) < min_points:
        why = f"{what}: {len(new)} and {len(old)} values are too few to compare; {min_points} are needed"
        return Check(at=at, verdict=Verdict.INCONCLUSIVE, why=why, **figures)
    p = mann_whitney(new, old, alternative)
    small = abs(_median(new) - _median(old)) < min_difference * abs(_median(old))
    if p > alpha or small:
        why = f"{what}: no significant deviation ({medians}, p = {p:.3g})"
        return Check(at=at, verdict=Verdict.PASSED, why=why, **figures)
    direction = {Alternative.GREATER: "higher than", Alternative.LESS: "lower than"}
    relation = direction.get(alternative, "different from")
    why = f"{what}: {relation} {other} ({medians}, p = {p:.3g})"
    return Check(at=at, verdict=Verdict.FAILED, why=why, **figures)


def failure(tally: Tally, limits: Limits) -> str:
    """Why the entry has failed already; empty while it has not."""
    why = tally.last.why if tally.last else ""
    no_data = 0 if limits.skip_on_no_data else tally.no_data
    failures = tally.failed + no_data
    if failures > limits.failures:
        allowed = f"; {failures} failed checks, {limits.failures} allowed" if limits.failures else ""
        return f"{why}{allowed}"
    if tally.errors_in_row > limits.errors:
        return f"{why}; {tally.errors_in_row} errors in a row, {limits.errors} allowed"
    if limits.inconclusive is not None and tally.inconclusive > limits.inconclusive:
        return f"{why}; {tally.inconclusive} inconclusive checks, {limits.inconclusive} allowed"
    return ""


def conclude(tally: Tally, limits: Limits, what: str) -> str:
    """Why the entry fails at the end of the analysis; empty if it succeeds. `what` names the entry."""
    if tally.passed or tally.failed:
        return ""
    if limits.skip_on_no_data and tally.no_data and not tally.errors_in_row:
        return ""
    last = f": {tally.last.why}" if tally.last else ""
    return f"{what}: no check was conclusive{last}"


def next_check_at(started: float, interval: float, duration: float, now: float, last: float) -> float | None:
    """The time of the next check; None if there is none before the end. `last` is that of the previous one.

    Checks are at `started` + k × `interval`. Those missed, for example during a restart, are left out, except
    the last one, which is made late.
    """
    number = max(math.floor((last - started) / interval) + 1, 1)
    latest = math.floor((min(now, started + duration) - started) / interval)
    due = started + max(number, latest) * interval
    return due if due <= started + duration else None


def _figures(values: Sequence[float]) -> dict[str, float]:
    return {"low": min(values), "high": max(values), "middle": _median(values)}


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _values(values: Sequence[float]) -> str:
    if min(values) == max(values):
        return f"{values[0]:g} is"
    return f"{len(values)} values from {min(values):g} to {max(values):g} are"


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"the limit {high:g}"
    return f"the limit {low:g}" if high is None else f"{low:g} to {high:g}"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


class AnalysisProviders(Protocol):
    """The analysis providers of the agent's configuration."""

    async def points(self, provider: str, query: str, start: float, end: float) -> Sequence[Point]:
        """The values of a metric from `start` to `end` (epoch seconds), of all its series.

        Raises ConfigError or Refused for an error that a person must fix, Temporary for others.
        """
        ...

    async def log_lines(self, provider: str, query: str, start: float, end: float) -> Sequence[str]:
        """Lines of logs that match the query; the first of many. Errors as for `points`."""
        ...

    def check_metrics(self, provider: str) -> None:
        """Raises UserError if the agent has no such provider, or it has no metrics."""
        ...

    def check_logs(self, provider: str) -> None:
        """Raises UserError if the agent has no such provider, or it has no logs."""
        ...

    def link(self, provider: str, query: str, start: float, end: float) -> str:
        """A link for people to the provider's own graph of the query; empty if none is configured."""
        ...

    async def request(self, method: str, url: str, headers: Mapping[str, str]) -> "HttpAnswer":
        """Raises Temporary if there is no answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """`body` is the beginning of the answer's text."""

    status: int
    body: str
