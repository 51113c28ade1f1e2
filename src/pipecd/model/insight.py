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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import IntEnum
from functools import lru_cache
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
#: A delivery without a lead time.
_NONE = 2**16 - 1
#: A status and whether the deployment failed after it had changed something, in one number.
_OUTCOMES = range(2 * (max(DeploymentStatus) + 1))


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
class _Events:
    """Events in order of time. Each belongs to the subject with this number, and has one of each `values`."""

    times: "array[int]"
    subjects: "array[int]"
    values: "Sequence[array[int]]"

    @classmethod
    def empty(cls, *types: str) -> "_Events":
        """`types` of the values, as of an array."""
        return cls(array("q"), array("I"), [array(type_) for type_ in types])

    def extended(self, events: Sequence[tuple[int, ...]]) -> "_Events":
        """`events`: time, subject, and values."""
        if not events:
            return self
        # Usually they are sorted: then it costs one comparison each.
        events = sorted(events)
        columns = (self.times, self.subjects, *self.values)
        at = len(self.times)
        if self.times and events[0][0] < self.times[-1]:
            # The clocks of agents differ: merge the end, from the first time that is later.
            at = bisect_left(self.times, events[0][0])
            later = zip(*(column[at:] for column in columns), strict=True)
            events = sorted([*later, *events])
        times, subjects, *values = (
            column[:at] + array(column.typecode, added)
            for column, added in zip(columns, zip(*events, strict=True), strict=True)
        )
        return _Events(times, subjects, values)

    def between(self, start: int, end: int, selected: bytes | None) -> "_Selection":
        """Those from `start` until before `end` of the subjects with a 1 in `selected`; None selects all."""
        first, last = bisect_left(self.times, start), bisect_left(self.times, end)
        mask = None
        if selected is not None:
            steps = range(first, last, _STEP)
            subjects = (self.subjects[at : min(at + _STEP, last)] for at in steps)
            mask = b"".join(bytes(map(selected.__getitem__, numbers)) for numbers in subjects)
        return _Selection(self, first, mask)


@dataclass(frozen=True)
class _Selection:
    """Events of some subjects. `mask` has a byte for each event from number `first` on, 1 if selected."""

    events: _Events
    first: int
    mask: bytes | None

    def count(self, start: int, end: int) -> Sequence[Counter[int]]:
        """How often each value occurs in the time from `start` until before `end`, for each of the values."""
        times = self.events.times
        first, last = bisect_left(times, start), bisect_left(times, end)
        counts: Sequence[Counter[int]] = [Counter() for _ in self.events.values]
        for at in range(first, last, _STEP):
            stop = min(at + _STEP, last)
            for counter, column in zip(counts, self.events.values, strict=True):
                values: Iterable[int] = column[at:stop]
                if self.mask is not None:
                    values = compress(values, self.mask[at - self.first : stop - self.first])
                if column.typecode == "B":
                    data = bytes(values)
                    counter.update({value: data.count(value) for value in _OUTCOMES if value in data})
                else:
                    counter.update(values)
        for counter in counts:
            counter.pop(_NONE, None)
        return counts


@dataclass(frozen=True)
class Deliveries:
    """The deliveries of a project; see the module."""

    subjects: Mapping[Subject, int] = field(default_factory=dict)
    #: Outcome, and lead time or `_NONE`.
    _ended: _Events = field(default_factory=lambda: _Events.empty("B", "H"))
    _restores: _Events = field(default_factory=lambda: _Events.empty("H"))
    #: Without a value: each is 1.
    _undone: _Events = field(default_factory=lambda: _Events.empty("B"))
    #: Application ID → number of the subject, and since when it fails.
    _failing: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._ended.times)

    def extended(self, rows: Iterable[Row]) -> "Deliveries":
        """With `rows`, which are later reports than those before; their times may be earlier."""
        subjects, failing = dict(self.subjects), dict(self._failing)
        ended, restores, undone = [], [], []
        for subject, at, status, failed, lead, restore, undone_at, failing_since in rows:
            number = subjects.setdefault(subject, len(subjects))
            ended.append((at, number, status << 1 | failed, _NONE if lead is None else _packed(lead)))
            if restore is not None:
                restores.append((at, number, _packed(restore)))
            if undone_at is not None:
                undone.append((undone_at, number, 1))
            if failing_since:
                failing[subject.application_id] = (number, failing_since)
            else:
                failing.pop(subject.application_id, None)
        return Deliveries(
            subjects,
            self._ended.extended(ended),
            self._restores.extended(restores),
            self._undone.extended(undone),
            failing,
        )

    def calculate(self, filters: Filter, boundaries: Sequence[int]) -> Report:
        """The figures of the periods between `boundaries`, in ascending order, and of all together."""
        selected = filters.select(self.subjects)
        first, last = boundaries[0], boundaries[-1]
        before = 2 * first - last
        events = [
            events.between(before, last, selected) for events in (self._ended, self._restores, self._undone)
        ]
        counted = [_count(events, *period) for period in pairwise(boundaries)]
        total = _Counts.sum(first, last, counted)
        failing = [
            (application_id, since)
            for application_id, (number, since) in self._failing.items()
            if selected is None or selected[number]
        ]
        return Report(
            points=[counts.figures() for counts in counted],
            total=total.figures(),
            previous=_count(events, before, first).figures(),
            failing=sorted(failing, key=lambda item: item[1]),
        )


def _count(events: Sequence[_Selection], start: int, end: int) -> "_Counts":
    return _Counts(start, end, *(counter for selection in events for counter in selection.count(start, end)))


@dataclass
class _Counts:
    """How often each outcome and each packed duration occurs in a period."""

    start: int
    end: int
    outcomes: Mapping[int, int]
    leads: Mapping[int, int]
    restores: Mapping[int, int]
    undone: Mapping[int, int]

    @classmethod
    def sum(cls, start: int, end: int, parts: Iterable["_Counts"]) -> "_Counts":
        # Twice as fast as Counter.update, which is half of the time with two years of days.
        sums: Sequence[defaultdict[int, int]] = [defaultdict(int) for _ in range(4)]
        for part in parts:
            for total, counts in zip(
                sums, (part.outcomes, part.leads, part.restores, part.undone), strict=True
            ):
                for value, number in counts.items():
                    total[value] += number
        return cls(start, end, *sums)

    def figures(self) -> Figures:
        def number(matches: Callable[[int], bool]) -> int:
            return sum(count for outcome, count in self.outcomes.items() if matches(outcome))

        succeeded = number(lambda outcome: outcome >> 1 == DeploymentStatus.SUCCESS)
        failed = number(lambda outcome: bool(outcome & 1))
        changes = succeeded + failed
        return Figures(
            start=self.start,
            end=self.end,
            deployments=sum(self.outcomes.values()),
            succeeded=succeeded,
            ended_as_failure=number(lambda outcome: outcome >> 1 == DeploymentStatus.FAILURE),
            changes=changes,
            # With a filter, a success may be taken back by a deployment with other labels.
            failures=min(failed + sum(self.undone.values()), changes),
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


@lru_cache(100_000)
def _packed(seconds: int) -> int:
    """A duration in 16 bits, less than `_NONE`. Those above 2⁶² seconds do not occur."""
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
