"""Refused calls and sign-ins, for the audit log. A flood of them leaves few rows.

The first refusal of a caller for a reason is recorded; further ones are counted, and the next row, or one
after `refusal_window` seconds, says how many there were. A project gets at most `max_refusals` rows in that
time. Requests whose project is unknown, such as those without a credential, are in the program's log only.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock, set_within, timeout
from pipecd.controlplane.faults import contained
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.audit import MAX_VALUE_LENGTH, Subject
from pipecd.errors import PermissionDenied, PipecdError, Unauthenticated
from pipecd.model.actor import Actor, ActorKind

log = structlog.get_logger()

#: Kind of the record of a refusal's row: what was refused is the action.
KIND = "refusal"
OPERATION = "refuse"
#: Callers and reasons that are counted at a time; bounds memory. The oldest ones are dropped first.
_MAX_COUNTED = 10_000
#: Interval at which rows about further refusals are written (seconds).
_FLUSH_INTERVAL = 60.0
#: Of the rows that wait when the program ends (seconds).
_LAST_FLUSH_TIMEOUT = 5.0


@dataclass(kw_only=True)
class _Count:
    """Refusals of one caller for one reason since `since` (monotonic seconds), not yet in a row."""

    actor: Actor
    reason: str
    since: float
    unrecorded: int = 0


class Refusals:
    def __init__(self, store: Store, clock: Clock, settings: AuthSettings) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        self._counts: BoundedDict[tuple[str, ...], _Count] = BoundedDict(_MAX_COUNTED)
        #: Rows of each project since the beginning of the window.
        self._rows: BoundedDict[str, tuple[float, int]] = BoundedDict(_MAX_COUNTED)
        self._waiting: deque[tuple[Actor, str, int]] = deque()
        self._wakeup = asyncio.Event()

    @contextmanager
    def recording(self, actor: Actor) -> Iterator[None]:
        """Records that the block raised PermissionDenied or Unauthenticated for `actor`."""
        try:
            yield
        except (PermissionDenied, Unauthenticated) as error:
            self.add(actor, str(error))
            raise

    def add(self, actor: Actor, reason: str) -> None:
        """Count a refusal; `run` writes the row. `actor` is who the caller claims to be."""
        now = self._clock.monotonic()
        reason = reason[:MAX_VALUE_LENGTH]
        # A person's name is only claimed, so that anyone could invent many.
        name = "" if actor.kind is ActorKind.PERSON and actor.action == "sign-in" else actor.id
        key = (actor.project_id, actor.kind, name, actor.address, reason)
        count = self._counts.get(key)
        if count is not None and now - count.since < self._settings.refusal_window:
            count.unrecorded += 1
            return
        repeated = count.unrecorded if count else 0
        if self._may_record(actor.project_id, now):
            self._counts[key] = _Count(actor=actor, reason=reason, since=now)
            self._waiting.append((actor, reason, repeated + 1))
            self._wakeup.set()
        else:
            self._counts[key] = _Count(actor=actor, reason=reason, since=now, unrecorded=repeated + 1)

    async def run(self) -> None:
        """Write the rows, until cancelled; then those that wait."""
        try:
            while True:
                self._wakeup.clear()
                await self.flush()
                await set_within(self._clock, self._wakeup, _FLUSH_INTERVAL)
        finally:
            with suppress(TimeoutError):
                async with timeout(self._clock, _LAST_FLUSH_TIMEOUT):
                    await self.flush()

    async def flush(self) -> None:
        """Write the rows that wait, and those about repeated refusals whose window has ended."""
        self._collect_old()
        while self._waiting:
            await self._write(*self._waiting.popleft())

    def _collect_old(self) -> None:
        """Rows about repeated refusals whose window has ended."""
        now = self._clock.monotonic()
        ended = [
            key for key, count in self._counts.items() if now - count.since >= self._settings.refusal_window
        ]
        for key in ended:
            count = self._counts.pop(key)
            if count.unrecorded and self._may_record(count.actor.project_id, now):
                self._waiting.append((count.actor, count.reason, count.unrecorded))

    def _may_record(self, project_id: str, now: float) -> bool:
        since, rows = self._rows.get(project_id, (now, 0))
        if now - since >= self._settings.refusal_window:
            since, rows = now, 0
        if rows >= self._settings.max_refusals:
            return False
        self._rows[project_id] = (since, rows + 1)
        return True

    async def _write(self, actor: Actor, reason: str, count: int) -> None:
        record = Subject(kind=KIND, id=actor.id[:MAX_VALUE_LENGTH], project_id=actor.project_id)
        after = {"reason": reason, **({"times": count} if count > 1 else {})}
        try:
            with contained("record-refusals"):
                await self._store.record_action(OPERATION, record, after, by=actor)
        except PipecdError as error:
            log.warning("refusal_not_recorded", error=str(error), reason=reason)
