"""Delivery figures of projects, calculated from deliveries that are kept in memory.

The rows of a project are read when they are first needed, about 27 bytes each, and later only new ones. The
calculation runs in a thread: a million deliveries take some ten milliseconds.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipecd.bounded_dict import BoundedDict
from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.deliveries import BATCH_SIZE, OVERLAP, load_after
from pipecd.errors import Refused
from pipecd.model.access import Labels, Resource
from pipecd.model.insight import MAX_DAYS, Bucket, Filter, Report, boundaries

if TYPE_CHECKING:
    from pipecd.controlplane.records.delivery_columns import Deliveries

#: Deliveries that are kept in memory, and projects. Those of the project that was read last are always kept.
MAX_DELIVERIES, MAX_PROJECTS = 5_000_000, 1_000
#: Reports that are kept until the project has another delivery, about 0.5 MB each at most.
MAX_REPORTS = 50
#: Rows that are read before they are added to the columns, which copies these.
_CHUNK = 40_000
#: Calculations at the same time: each uses a core.
MAX_CALCULATIONS = 2
#: The year 9999 in a time zone needs some hours more than datetime has.
_LATEST = 253_370_764_800


@dataclass
class _Loaded:
    deliveries: "Deliveries"
    last_seq: int = 0
    #: The rows among the last `OVERLAP` sequence numbers.
    recent: BoundedDict[int, None] = field(default_factory=lambda: BoundedDict(2 * OVERLAP))
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Replaced with each extension of `deliveries`.
    version: object = field(default_factory=object)


class Insights:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._projects: BoundedDict[str, _Loaded] = BoundedDict(MAX_PROJECTS)
        self._calculations = asyncio.Semaphore(MAX_CALCULATIONS)
        #: With the version of the deliveries; the filter is part of the key as text.
        self._reports: BoundedDict[tuple[str, str, Sequence[int]], tuple[object, Report]] = BoundedDict(
            MAX_REPORTS
        )

    async def report(self, project_id: str, filters: Filter, period: Sequence[int]) -> Report:
        """The figures of the periods between the boundaries `period`. Raises Temporary."""
        loaded = await self._load(project_id)
        deliveries, version = loaded.deliveries, loaded.version
        key = (project_id, repr(filters), tuple(period))
        kept = self._reports.get(key)
        if kept is not None and kept[0] is version:
            self._reports.move_to_end(key)
            return kept[1]
        async with self._calculations:
            report = await asyncio.to_thread(deliveries.calculate, filters, period)
        self._reports[key] = (version, report)
        return report

    async def count(self, project_id: str) -> int:
        """How many deliveries the project has."""
        return len((await self._load(project_id)).deliveries)

    async def _load(self, project_id: str) -> _Loaded:
        loaded = self._projects.get(project_id)
        if loaded is None:
            empty = await asyncio.to_thread(_no_deliveries)
            # Another call may have begun to load meanwhile.
            loaded = self._projects.get(project_id) or _Loaded(empty)
            self._projects[project_id] = loaded
        else:
            self._projects.move_to_end(project_id)
        async with loaded.lock:
            overlap = 0 if self._store.database.sqlite else OVERLAP
            after = max(0, loaded.last_seq - overlap)
            new: list[Any] = []
            while True:
                stored = await load_after(self._store.database, project_id, after)
                new += (row for row in stored if row.seq not in loaded.recent) if loaded.recent else stored
                ended = len(stored) < BATCH_SIZE
                if new and (ended or len(new) >= _CHUNK):
                    loaded.deliveries = await asyncio.to_thread(loaded.deliveries.extended, new)
                    loaded.version = object()
                    for row in new[-OVERLAP:]:
                        loaded.recent[row.seq] = None
                    loaded.last_seq = max(loaded.last_seq, new[-1].seq)
                    new = []
                if ended:
                    self._drop_oldest()
                    return loaded
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
            f"{name!r} is not a time zone of this machine", remedy="use a name such as Europe/Berlin"
        ) from None


def _no_deliveries() -> "Deliveries":
    # Loads NumPy, which takes 26 MB: only once insights are read.
    from pipecd.controlplane.records.delivery_columns import Deliveries

    return Deliveries()
