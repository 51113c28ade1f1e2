"""Delivery figures over time: frequency, change failure rate, lead time and time to restore.

`controlplane.records.delivery_columns` calculates them. Times are seconds since the epoch, durations are
seconds.

Definitions, over the deployments that ended in a period:

- deployment frequency: those that succeeded. `deployments` counts all;
- change failure rate: failed changes ÷ changes. A change succeeded, or ran a stage that changes something and
  failed or was rolled back. A success that was taken back within 24 hours is a failed change;
- lead time for changes: from the first commit that a deployment brought to its success;
- time to restore: from the first failed change of an application to its next success.

Durations have an accuracy of 1 %. Medians and 90th percentiles are of the nearest rank.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import IntEnum
from typing import NamedTuple

from pipecd.model.access import Labels

#: The longest period, in days.
MAX_DAYS = 730


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
    """A stored delivery, with the columns of `store.deliveries.load_after`; see `model.delivery`."""

    application_id: str
    kind: str
    #: Lines `key:value`.
    labels: str
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
    #: Ascending in the order in which the rows were stored.
    seq: int = 0


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
