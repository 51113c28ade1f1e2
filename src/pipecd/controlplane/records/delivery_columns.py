"""The deliveries of a project as columns of numbers, and the figures that are calculated from them.

`records.insights` builds `Deliveries` from stored rows; definitions and results are those of
`model.insight`. A million deliveries take 27 MB, and their figures some ten milliseconds. NumPy takes another
26 MB, so only a process whose insights are read imports this module.

Durations are kept on a logarithmic scale with an accuracy of 1 %, so that quantiles come from a histogram.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipecd.model.insight import Durations, Figures, Filter, Report, Row, Subject
from pipecd.model.status import DeploymentStatus

#: Steps per unit of the natural logarithm: 2 % each.
_SCALE = 50
#: Longer durations (seconds) do not occur.
_LONGEST = 2**62
#: An outcome is a status and whether the deployment failed after it had changed something, in one number.
_OUTCOMES = 2 * (max(DeploymentStatus) + 1)
_FAILED = [outcome for outcome in range(_OUTCOMES) if outcome & 1]


@dataclass(frozen=True)
class _Events:
    """Events in order of time. Each belongs to the subject with this number, and has a value."""

    times: NDArray[np.int64]
    subjects: NDArray[np.uint32]
    values: NDArray[np.uint16]

    @classmethod
    def empty(cls) -> "_Events":
        return cls(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.uint16))

    def extended(
        self, times: NDArray[np.int64], subjects: NDArray[np.uint32], values: NDArray[Any]
    ) -> "_Events":
        """With events in any order. `values` fit into 16 bits."""
        columns: list[NDArray[Any]] = [
            np.concatenate((self.times, times)),
            np.concatenate((self.subjects, subjects)),
            np.concatenate((self.values, values.astype(np.uint16))),
        ]
        # The clocks of agents differ. The events before are sorted.
        if (np.diff(columns[0][max(len(self.times) - 1, 0) :]) < 0).any():
            order = np.argsort(columns[0], kind="stable")
            columns = [column[order] for column in columns]
        return _Events(*columns)

    def with_durations(
        self, times: NDArray[np.int64], subjects: NDArray[np.uint32], seconds: Sequence[int | None]
    ) -> "_Events":
        """With the events whose duration is not None."""
        durations = np.array(seconds, np.float64)
        present = ~np.isnan(durations)
        scaled = np.rint(np.log1p(np.minimum(durations[present], _LONGEST)) * _SCALE)
        return self.extended(times[present], subjects[present], scaled)

    def count(
        self, edges: Sequence[int], selected: NDArray[np.bool] | None, size: int = 0
    ) -> NDArray[np.intp]:
        """How often each value occurs between neighbours of `edges`: a row for each period.

        Of the subjects that are true in `selected`; None selects all. Without a `size`, the rows are as long
        as the largest value needs.
        """
        positions = np.searchsorted(self.times, edges)
        part = slice(positions[0], positions[-1])
        values, periods = self.values[part].astype(np.intp), len(edges) - 1
        size = size or int(values.max(initial=0)) + 1
        values += np.repeat(np.arange(periods) * size, np.diff(positions))
        if selected is not None:
            values = values[selected[self.subjects[part]]]
        return np.bincount(values, minlength=periods * size).reshape(periods, size)


@dataclass(frozen=True)
class Deliveries:
    """The deliveries of a project. Immutable; `extended` returns a new one."""

    subjects: Sequence[Subject] = ()
    #: Application ID, kind and labels as stored → number of the subject.
    _numbers: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    #: The values are outcomes.
    _ended: _Events = field(default_factory=_Events.empty)
    #: The values are durations on the scale.
    _leads: _Events = field(default_factory=_Events.empty)
    _restores: _Events = field(default_factory=_Events.empty)
    #: Successes that were taken back. The values are 0.
    _undone: _Events = field(default_factory=_Events.empty)
    #: Application ID → number of the subject, and since when it fails.
    _failing: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._ended.times)

    def extended(self, rows: Sequence[Row]) -> "Deliveries":
        """With `rows`, which are later reports than those before; their times may be earlier."""
        if not rows:
            return self
        application_ids, kinds, labels, ends, statuses, failed, leads, restores, undone, since, _ = zip(
            *rows, strict=True
        )
        numbers, keys = dict(self._numbers), list(zip(application_ids, kinds, labels, strict=True))
        of_rows = [numbers.setdefault(key, len(numbers)) for key in keys]
        failing = dict(self._failing)
        for application_id, number, failing_since in zip(application_ids, of_rows, since, strict=True):
            if failing_since:
                failing[application_id] = (number, failing_since)
            else:
                failing.pop(application_id, None)
        times, subjects = np.array(ends, np.int64), np.array(of_rows, np.uint32)
        taken_back = [(at, number) for at, number in zip(undone, of_rows, strict=True) if at is not None]
        undone_times = np.array([at for at, _ in taken_back], np.int64)
        undone_subjects = np.array([number for _, number in taken_back], np.uint32)
        return Deliveries(
            (*self.subjects, *map(_subject, islice(numbers, len(self.subjects), None))),
            numbers,
            self._ended.extended(times, subjects, np.array(statuses) << 1 | np.array(failed, np.bool)),
            self._leads.with_durations(times, subjects, leads),
            self._restores.with_durations(times, subjects, restores),
            self._undone.extended(undone_times, undone_subjects, np.zeros(len(taken_back))),
            failing,
        )

    def calculate(self, filters: Filter, boundaries: Sequence[int]) -> Report:
        """The figures of the periods between `boundaries`, in ascending order, and of all together."""
        matches = filters.select(self.subjects)
        selected = None if matches is None else np.frombuffer(matches, np.bool)
        first, last = boundaries[0], boundaries[-1]
        before = 2 * first - last
        counts = [
            _with_total(events.count((before, *boundaries), selected, size))
            for events, size in (
                (self._ended, _OUTCOMES),
                (self._undone, 1),
                (self._leads, 0),
                (self._restores, 0),
            )
        ]
        starts, ends = (before, *boundaries[:-1], first), (*boundaries, last)
        previous, *points, total = _figures(starts, ends, *counts)
        failing = [
            (application_id, since)
            for application_id, (number, since) in self._failing.items()
            if matches is None or matches[number]
        ]
        return Report(
            points=points,
            total=total,
            previous=previous,
            failing=sorted(failing, key=lambda item: item[1]),
        )


def _subject(key: tuple[str, str, str]) -> Subject:
    application_id, kind, labels = key
    return Subject(application_id, kind, frozenset(filter(None, labels.split("\n"))))


def _with_total(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """With a row for all periods but the first, which is the one before them."""
    return np.vstack((counts, counts[1:].sum(axis=0)))


def _figures(
    starts: Sequence[int],
    ends: Sequence[int],
    outcomes: NDArray[np.intp],
    undone: NDArray[np.intp],
    leads: NDArray[np.intp],
    restores: NDArray[np.intp],
) -> list[Figures]:
    """Of each row."""

    def number(status: DeploymentStatus) -> NDArray[np.intp]:
        total: NDArray[np.intp] = outcomes[:, [status << 1, status << 1 | 1]].sum(axis=1)
        return total

    succeeded, failed = number(DeploymentStatus.SUCCESS), outcomes[:, _FAILED].sum(axis=1)
    changes = succeeded + failed
    # With a filter, a success may be taken back by a deployment with other labels.
    failures = np.minimum(failed + undone[:, 0], changes)
    columns = (outcomes.sum(axis=1), succeeded, number(DeploymentStatus.FAILURE), changes, failures)
    return [
        Figures(
            start=start,
            end=end,
            deployments=deployments,
            succeeded=succeeded,
            ended_as_failure=ended_as_failure,
            changes=changes,
            failures=failures,
            lead=lead,
            restore=restore,
        )
        for (start, end, deployments, succeeded, ended_as_failure, changes, failures, lead, restore) in zip(
            starts,
            ends,
            *(column.tolist() for column in columns),
            _durations(leads),
            _durations(restores),
            strict=True,
        )
    ]


def _durations(counts: NDArray[np.intp]) -> list[Durations]:
    """Of each row."""
    ranks = counts.cumsum(axis=1)
    totals = ranks[:, -1]

    def quantile(share: float) -> list[float]:
        at = (ranks >= np.ceil(totals * share)[:, None]).argmax(axis=1)
        seconds: list[float] = np.rint(np.expm1(at / _SCALE)).tolist()
        return seconds

    return [
        Durations(count=count, median=median, p90=p90) if count else Durations()
        for count, median, p90 in zip(totals.tolist(), quantile(0.5), quantile(0.9), strict=True)
    ]
