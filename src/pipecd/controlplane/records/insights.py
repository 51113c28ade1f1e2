"""Delivery figures of projects, calculated from deliveries that are kept in memory.

The rows of a project are read when they are first needed, about 20 bytes each, and later only new ones. The
calculation runs in a thread: a million deliveries take some hundred milliseconds.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipecd.bounded_dict import BoundedDict
from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.deliveries import BATCH_SIZE, OVERLAP, load_after
from pipecd.errors import Refused
from pipecd.model.access import Labels, Resource
from pipecd.model.insight import MAX_DAYS, Bucket, Deliveries, Filter, Report, Row, Subject, boundaries

#: Deliveries that are kept in memory, and projects. Those of the project that was read last are always kept.
MAX_DELIVERIES, MAX_PROJECTS = 5_000_000, 1_000
#: Calculations at the same time: each uses a core.
MAX_CALCULATIONS = 2
#: The year 9999 in a time zone needs some hours more than datetime has.
_LATEST = 253_370_764_800


@dataclass
class _Loaded:
    deliveries: Deliveries = field(default_factory=Deliveries)
    last_seq: int = 0
    #: The rows among the last `OVERLAP` sequence numbers.
    recent: BoundedDict[int, None] = field(default_factory=lambda: BoundedDict(2 * OVERLAP))
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    subjects: dict[tuple[str, str, str], Subject] = field(default_factory=dict)


class Insights:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._projects: BoundedDict[str, _Loaded] = BoundedDict(MAX_PROJECTS)
        self._calculations = asyncio.Semaphore(MAX_CALCULATIONS)

    async def report(self, project_id: str, filters: Filter, period: Sequence[int]) -> Report:
        """The figures of the periods between the boundaries `period`. Raises Temporary."""
        deliveries = await self._load(project_id)
        async with self._calculations:
            return await asyncio.to_thread(deliveries.calculate, filters, period)

    async def count(self, project_id: str) -> int:
        """How many deliveries the project has."""
        return len(await self._load(project_id))

    async def _load(self, project_id: str) -> Deliveries:
        loaded = self._projects.get(project_id)
        if loaded is None:
            loaded = self._projects[project_id] = _Loaded()
        self._projects.move_to_end(project_id)
        async with loaded.lock:
            overlap = 0 if self._store.database.sqlite else OVERLAP
            after = max(0, loaded.last_seq - overlap)
            while True:
                stored = await load_after(self._store.database, project_id, after)
                if new := [row for row in stored if row.seq not in loaded.recent]:
                    rows = await asyncio.to_thread(_rows, new, loaded.subjects)
                    loaded.deliveries = await asyncio.to_thread(loaded.deliveries.extended, rows)
                    for row in new[-OVERLAP:]:
                        loaded.recent[row.seq] = None
                    loaded.last_seq = max(loaded.last_seq, new[-1].seq)
                if len(stored) < BATCH_SIZE:
                    self._drop_oldest()
                    return loaded.deliveries
                after = stored[-1].seq

    def _drop_oldest(self) -> None:
        total = sum(len(loaded.deliveries) for loaded in self._projects.values())
        while total > MAX_DELIVERIES and len(self._projects) > 1:
            _, dropped = self._projects.popitem(last=False)
            total -= len(dropped.deliveries)


def included(caller: Caller) -> Sequence[Labels] | None:
    """The labels of the deliveries that the caller's figures include, as alternatives; None includes all.

    Insights have no labels of their own: a role that is limited to applications with a label sees the figures
    of these. The right to insights without one to applications and deployments is that to all figures.
    """
    if not isinstance(caller, Person):
        return None
    alternatives = [caller.conditions(Resource.DEPLOYMENT), caller.conditions(Resource.APPLICATION)]
    if None in alternatives or not any(alternatives):
        return None
    return [labels for alternative in alternatives for labels in alternative or ()]


def period(start: int, end: int, bucket: Bucket, zone: tzinfo) -> Sequence[int]:
    """The boundaries of the buckets with the times from `start` to `end`. Raises Refused."""
    if start > end:
        raise Refused("the range ends before it starts")
    if end - start > MAX_DAYS * 86400:
        raise Refused(f"the range is longer than {MAX_DAYS} days", remedy="choose a shorter range")
    if start < 86400 or end > _LATEST:
        raise Refused("the range must be given in seconds since 1970")
    return boundaries(start, end, bucket, zone)


def find_zone(name: str) -> tzinfo:
    """The time zone with this IANA name; empty is UTC. Raises Refused."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused(
            f"{name!r} is not a time zone that this machine knows", remedy="use a name such as Europe/Berlin"
        ) from None


def _rows(stored: Sequence[Any], subjects: dict[tuple[str, str, str], Subject]) -> list[Row]:
    return [_row(row, subjects) for row in stored]


def _row(stored: Any, subjects: dict[tuple[str, str, str], Subject]) -> Row:
    key = (stored.application_id, stored.kind_name, stored.labels)
    subject = subjects.get(key)
    if subject is None:
        labels = frozenset(filter(None, stored.labels.split("\n")))
        subject = subjects[key] = Subject(stored.application_id, stored.kind_name, labels)
    return Row(
        subject=subject,
        completed_at=stored.completed_at,
        status=stored.status,
        failed=bool(stored.failed),
        lead=stored.lead,
        restore=stored.restore,
        undone_at=stored.undone_at,
        failing_since=stored.failing_since,
    )
