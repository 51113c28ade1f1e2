"""Delivery figures over time: frequency, change failure rate, lead time and time to restore.

`Deliveries` keeps the deliveries of one project as packed columns, about 20 bytes each, so that a million can
be added up in a fraction of a second without the database. It is immutable; `extended` returns a new one.
`calculate` is pure. Times are seconds since the epoch, durations are seconds.

Definitions, over the deployments that ended in a period:

- deployment frequency: those that succeeded. `deployments` counts all;
- change failure rate: failed changes ÷ changes. A change succeeded, or ran a stage that changes something and
  failed or was rolled back. A success that was taken back within 24 hours is a failed change;
- lead time for changes: from the first commit that a deployment brought to its success;
- time to restore: from the first failed change of an application to its next success.

Durations are kept with an accuracy of 1 %. Medians and 90th percentiles are of the nearest rank.
"""

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import IntEnum
from itertools import accumulate, compress, pairwise
from typing import NamedTuple

from pipecd.model.access import Labels
from pipecd.model.status import DeploymentStatus

#: The longest period, in days.
MAX_DAYS = 730
#: Deliveries per step of a calculation, each of which holds Python's global lock.
_STEP = 50_000
#: Steps per unit of the natural logarithm: 2 % each.
_SCALE = 50


class Bucket(IntEnum):
    """The period that a point of a series is about. A week begins on Monday."""

    DAY = 0
    WEEK = 1
    MONTH = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """What filters compare. `labels` (`key:value`) are those of the application when it was deployed."""

    application_id: str
    kind: str
    labels: frozenset[str]


class Row(NamedTuple):
    """A stored delivery; see `model.delivery`."""

    subject: Subject
    completed_at: int
    #: A DeploymentStatus.
    status: int
    #: It failed after it had changed something.
    failed: bool = False
    lead: int | None = None
    restore: int | None = None
    undone_at: int | None = None
    #: The application fails since then; 0 if it does not.
    failing_since: int = 0


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Empty fields match everything."""

    application_id: str = ""
    kinds: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    #: The labels that a delivery must have by the user's roles, as alternatives; None includes all.
    included: Sequence[Labels] | None = None

    def select(self, subjects: Iterable[Subject]) -> bytes | None:
        """A byte for each subject, 1 if it matches; None if everything does."""
        if not (self.application_id or self.kinds or self.labels) and self.included is None:
            return None
        kinds, labels = frozenset(self.kinds), _lines(self.labels)
        alternatives: list[frozenset[str]] = (
            [frozenset()] if self.included is None else [_lines(one) for one in self.included]
        )
        return bytes(
            self.application_id in ("", subject.application_id)
            and (not kinds or subject.kind in kinds)
            and labels <= subject.labels
            and any(alternative <= subject.labels for alternative in alternatives)
            for subject in subjects
        )


@dataclass(frozen=True, kw_only=True)
class Durations:
    """`median` and `p90` are None if `count` is 0."""

    count: int = 0
    median: float | None = None
    p90: float | None = None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of the period from `start` until before `end`."""

    start: int
    end: int
    #: All that ended.
    deployments: int = 0
    succeeded: int = 0
    #: Those with the status FAILURE, also if they changed nothing.
    ended_as_failure: int = 0
    #: Those that changed something, and failed changes among them.
    changes: int = 0
    failures: int = 0
    lead: Durations = Durations()
    restore: Durations = Durations()

    @property
    def failure_rate(self) -> float | None:
        return self.failures / self.changes if self.changes else None


@dataclass(frozen=True, kw_only=True)
class Report:
    """`previous`: the figures of the period of the same length before `total`."""

    points: Sequence[Figures]
    total: Figures
    previous: Figures
    #: Applications that fail now, and since when; the longest first.
    failing: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class _Column:
    """Values in order of time; each belongs to the subject with this number."""

    times: "array[int]" = field(default_factory=lambda: array("q"))
    subjects: "array[int]" = field(default_factory=lambda: array("I"))
    values: "array[int]" = field(default_factory=lambda: array("H"))

    def extended(self, events: Sequence[tuple[int, int, int]]) -> "_Column":
        if not events:
            return self
        # Usually they are sorted: then it costs one comparison each.
        events = sorted(events)
        if self.times and events[0][0] < self.times[-1]:
            # The clocks of agents differ: merge the end, from the first time that is later.
            at = bisect_left(self.times, events[0][0])
            later = zip(self.times[at:], self.subjects[at:], self.values[at:], strict=True)
            events = sorted([*later, *events])
        else:
            at = len(self.times)
        times, subjects, values = zip(*events, strict=True)
        return _Column(
            self.times[:at] + array("q", times),
            self.subjects[:at] + array("I", subjects),
            self.values[:at] + array("H", values),
        )

    def count(self, start: int, end: int, selected: bytes | None) -> Counter[int]:
        """How often each value occurs in the time from `start` until before `end`."""
        counts: Counter[int] = Counter()
        for at in range(start := bisect_left(self.times, start), end := bisect_left(self.times, end), _STEP):
            stop = min(at + _STEP, end)
            values: Iterable[int] = self.values[at:stop]
            if selected is not None:
                values = compress(values, map(selected.__getitem__, self.subjects[at:stop]))
            counts.update(values)
        return counts


@dataclass(frozen=True)
class Deliveries:
    """The deliveries of a project; see the module."""

    subjects: Mapping[Subject, int] = field(default_factory=dict)
    _outcomes: _Column = _Column()
    _leads: _Column = _Column()
    _restores: _Column = _Column()
    _undone: _Column = _Column()
    #: Application ID → number of the subject, and since when it fails.
    _failing: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._outcomes.times)

    def extended(self, rows: Iterable[Row]) -> "Deliveries":
        """With `rows`, which are later reports than those before; their times may be earlier."""
        subjects, failing = dict(self.subjects), dict(self._failing)
        outcomes, leads, restores, undone = [], [], [], []
        for row in rows:
            number = subjects.setdefault(row.subject, len(subjects))
            at = row.completed_at
            outcomes.append((at, number, _outcome(row)))
            if row.lead is not None:
                leads.append((at, number, _packed(row.lead)))
            if row.restore is not None:
                restores.append((at, number, _packed(row.restore)))
            if row.undone_at is not None:
                undone.append((row.undone_at, number, 1))
            if row.failing_since:
                failing[row.subject.application_id] = (number, row.failing_since)
            else:
                failing.pop(row.subject.application_id, None)
        return Deliveries(
            subjects,
            self._outcomes.extended(outcomes),
            self._leads.extended(leads),
            self._restores.extended(restores),
            self._undone.extended(undone),
            failing,
        )

    def calculate(self, filters: Filter, boundaries: Sequence[int]) -> Report:
        """The figures of the periods between `boundaries`, in ascending order, and of all together."""
        selected = filters.select(self.subjects)
        counted = [self._count(*period, selected) for period in pairwise(boundaries)]
        first, last = boundaries[0], boundaries[-1]
        total = _Counts(first, last)
        for counts in counted:
            total.add(counts)
        failing = [
            (application_id, since)
            for application_id, (number, since) in self._failing.items()
            if selected is None or selected[number]
        ]
        return Report(
            points=[counts.figures() for counts in counted],
            total=total.figures(),
            previous=self._count(2 * first - last, first, selected).figures(),
            failing=sorted(failing, key=lambda item: item[1]),
        )

    def _count(self, start: int, end: int, selected: bytes | None) -> "_Counts":
        columns = (self._outcomes, self._leads, self._restores, self._undone)
        return _Counts(start, end, *(column.count(start, end, selected) for column in columns))


@dataclass
class _Counts:
    """How often each outcome and each packed duration occurs in a period."""

    start: int
    end: int
    outcomes: Counter[int] = field(default_factory=Counter)
    leads: Counter[int] = field(default_factory=Counter)
    restores: Counter[int] = field(default_factory=Counter)
    undone: Counter[int] = field(default_factory=Counter)

    def add(self, other: "_Counts") -> None:
        self.outcomes.update(other.outcomes)
        self.leads.update(other.leads)
        self.restores.update(other.restores)
        self.undone.update(other.undone)

    def figures(self) -> Figures:
        def number(matches: Callable[[int], bool]) -> int:
            return sum(count for outcome, count in self.outcomes.items() if matches(outcome))

        succeeded = number(lambda outcome: outcome >> 1 == DeploymentStatus.SUCCESS)
        failed = number(lambda outcome: bool(outcome & 1))
        changes = succeeded + failed
        return Figures(
            start=self.start,
            end=self.end,
            deployments=self.outcomes.total(),
            succeeded=succeeded,
            ended_as_failure=number(lambda outcome: outcome >> 1 == DeploymentStatus.FAILURE),
            changes=changes,
            # With a filter, a success may be taken back by a deployment with other labels.
            failures=min(failed + self.undone.total(), changes),
            lead=_durations(self.leads),
            restore=_durations(self.restores),
        )


def boundaries(start: int, end: int, bucket: Bucket, zone: tzinfo) -> Sequence[int]:
    """The beginnings of the buckets from that with `start` to that with `end`, and the end of the last."""
    day = _first_day(datetime.fromtimestamp(start, zone).replace(hour=0, minute=0, second=0, fold=0), bucket)
    found = [int(day.timestamp())]
    while found[-1] <= end:
        day = _next(day, bucket)
        found.append(int(day.timestamp()))
    return found


def _first_day(day: datetime, bucket: Bucket) -> datetime:
    match bucket:
        case Bucket.DAY:
            return day
        case Bucket.WEEK:
            return day - timedelta(days=day.weekday())
        case Bucket.MONTH:
            return day.replace(day=1)


def _next(day: datetime, bucket: Bucket) -> datetime:
    """The next midnight: arithmetic with a time zone is that of the clock on the wall."""
    match bucket:
        case Bucket.DAY:
            return day + timedelta(days=1)
        case Bucket.WEEK:
            return day + timedelta(days=7)
        case Bucket.MONTH:
            return (day + timedelta(days=31)).replace(day=1)


def _lines(labels: Labels) -> frozenset[str]:
    return frozenset(f"{key}:{value}" for key, value in labels.items())


def _outcome(row: Row) -> int:
    return row.status << 1 | row.failed


def _packed(seconds: int) -> int:
    """A duration in 16 bits. Those above 2⁶² seconds do not occur."""
    return round(math.log1p(min(seconds, 2**62)) * _SCALE)


def _durations(counts: Mapping[int, int]) -> Durations:
    if not counts:
        return Durations()
    values = sorted(counts)
    ranks = list(accumulate(map(counts.__getitem__, values)))

    def quantile(share: float) -> float:
        value = values[bisect_left(ranks, math.ceil(ranks[-1] * share))]
        return float(round(math.expm1(value / _SCALE)))

    return Durations(count=ranks[-1], median=quantile(0.5), p90=quantile(0.9))
