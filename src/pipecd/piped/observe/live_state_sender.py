"""Sends live states to the control plane: whole, or as events of what changed since the last one.

Events are sent only as long as it is certain what the control plane has. After a call that failed, and every
10 minutes, the whole state is sent.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.model.application import Application
from pipecd.model.resource import Resource
from pipecd.schema.agent.live_state_pb2 import (
    ReportApplicationLiveStateEventsRequest,
    ReportApplicationLiveStateRequest,
)
from pipecd.wire import LiveStateVersion, has_live_state_events, live_state_events_to, snapshot_to

#: Interval at which the whole state is sent again (seconds), for a control plane that lost it.
RESEND_INTERVAL = 600.0
#: More changes at once are sent as a whole state.
MAX_EVENTS = 50


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """What the control plane has: only digests, so that no state of all applications is kept."""

    whole: bytes
    #: By resource id. Empty for kinds without events.
    resources: Mapping[str, bytes]
    version: LiveStateVersion
    #: When the whole state was sent (monotonic seconds).
    snapshot_at: float


class LiveStateSender:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._sent: dict[str, _Sent] = {}

    def differs(self, application: Application, whole: bytes) -> bool:
        """Whether the state differs from the one that was sent. `whole` is its `digest_of`."""
        sent = self._sent.get(application.id)
        return sent is None or sent.whole != whole

    async def send(self, application: Application, resources: Sequence[Resource], whole: bytes) -> None:
        """Send what the control plane does not have. Raises PipecdError."""
        sent, now = self._sent.get(application.id), self._clock.monotonic()
        age = now - sent.snapshot_at if sent else math.inf
        if sent and sent.whole == whole and age < RESEND_INTERVAL:
            return
        # Until the control plane has answered, it is not known what it has.
        self._sent.pop(application.id, None)
        digests = _digests(application, resources)
        version = self._next_version(sent.version if sent else (0, 0))
        changed, removed = _changes(sent.resources if sent else {}, digests)
        # A change of the order alone has no event.
        few = 0 < len(changed) + len(removed) <= min(MAX_EVENTS, len(resources) // 2)
        if sent and digests and few and age < RESEND_INTERVAL:
            found = [resource for resource in resources if resource.id in changed]
            if await self._send_events(application, found, removed, version):
                self._remember(application, whole, digests, version, sent.snapshot_at)
                return
        timestamp = int(self._clock.now())
        snapshot = snapshot_to(application, resources, now=timestamp, version=version)
        request = ReportApplicationLiveStateRequest(snapshot=snapshot)
        await self._client.call(self._client.piped.ReportApplicationLiveState, request)
        self._remember(application, whole, digests, version, now)

    def prune(self, applications: Collection[str]) -> None:
        self._sent = {key: sent for key, sent in self._sent.items() if key in applications}

    async def _send_events(
        self,
        application: Application,
        changed: Sequence[Resource],
        removed: Sequence[str],
        version: LiveStateVersion,
    ) -> bool:
        """Returns whether the control plane could apply all."""
        now = int(self._clock.now())
        events = live_state_events_to(application, changed, removed, now=now, version=version)
        request = ReportApplicationLiveStateEventsRequest(kubernetes_events=events)
        response = await self._client.call(self._client.piped.ReportApplicationLiveStateEvents, request)
        return not response.failed_ids

    def _next_version(self, last: LiveStateVersion) -> LiveStateVersion:
        """Greater than the last one, also if the clock was set back."""
        return max((int(self._clock.now()), 0), (last[0], last[1] + 1))

    def _remember(
        self,
        application: Application,
        whole: bytes,
        digests: Mapping[str, bytes],
        version: LiveStateVersion,
        snapshot_at: float,
    ) -> None:
        self._sent[application.id] = _Sent(
            whole=whole, resources=digests, version=version, snapshot_at=snapshot_at
        )


def _changes(
    before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> tuple[Collection[str], Sequence[str]]:
    """The ids of resources that are new or changed, and of those that are gone."""
    changed = {uid for uid, digest in after.items() if before.get(uid) != digest}
    return changed, [uid for uid in before if uid not in after]


def digest_of(application: Application, resources: Sequence[Resource]) -> bytes:
    snapshot = snapshot_to(application, resources, now=1)
    return hashlib.sha256(snapshot.SerializeToString(deterministic=True)).digest()


def _digests(application: Application, resources: Sequence[Resource]) -> Mapping[str, bytes]:
    """Those of each resource. Empty for kinds without events."""
    if not has_live_state_events(application):
        return {}
    events = live_state_events_to(application, resources, (), now=1, version=(0, 0))
    return {
        event.state.id: hashlib.blake2b(
            event.state.SerializeToString(deterministic=True), digest_size=12
        ).digest()
        for event in events
    }
