"""Applies resource events to the latest live-state snapshot of an application."""

from collections.abc import Iterable, Sequence

from pipecd.schema.model.live_state_pb2 import (
    ApplicationLiveStateSnapshot,
    ApplicationLiveStateVersion,
    KubernetesResourceState,
    KubernetesResourceStateEvent,
)

#: Kind of a snapshot's change in the change feed; its `id` is the application's.
CHANGE_KIND = "live_state"


def apply_events(
    snapshot: ApplicationLiveStateSnapshot,
    events: Sequence[KubernetesResourceStateEvent],
    *,
    max_resources: int,
) -> tuple[bool, Sequence[str]]:
    """Apply `events` to `snapshot`, in their order, with the application's health.

    Returns whether something changed, and the ids of events that were not applied because there are
    `max_resources` already. Events that are older than the snapshot are ignored: they are contained in it.
    """
    counts_unknown = _counts_unknown(snapshot)
    resources = {resource.id: resource for resource in snapshot.kubernetes.resources}
    changed, refused, version = False, [], snapshot.version
    for event in events:
        if _sort_key(event.snapshot_version) < _sort_key(version):
            continue
        known = resources.get(event.state.id)
        if event.type == KubernetesResourceStateEvent.DELETED:
            changed |= resources.pop(event.state.id, None) is not None
        elif known is None and len(resources) >= max_resources:
            refused.append(event.id)
            continue
        elif known != event.state:
            resources[event.state.id] = event.state
            changed = True
        version = event.snapshot_version
    snapshot.version.CopyFrom(version)
    if changed:
        kept = list(resources.values())
        replaced = ApplicationLiveStateSnapshot()
        replaced.kubernetes.resources.extend(kept)
        snapshot.kubernetes.CopyFrom(replaced.kubernetes)
        snapshot.health_status = _health(kept, counts_unknown=counts_unknown)
    return changed, refused


def _counts_unknown(snapshot: ApplicationLiveStateSnapshot) -> bool:
    """Whether a resource of unknown health makes the application's unknown.

    To PipeCD's agent, a resource is unknown if it has no rule for its kind, and such resources do not count.
    To our agent, it is in progress.
    """
    is_healthy = snapshot.health_status == ApplicationLiveStateSnapshot.HEALTHY
    return not is_healthy or all(
        resource.health_status != KubernetesResourceState.UNKNOWN
        for resource in snapshot.kubernetes.resources
    )


def _health(
    resources: Iterable[KubernetesResourceState], *, counts_unknown: bool
) -> ApplicationLiveStateSnapshot.Status.ValueType:
    states = {resource.health_status for resource in resources}
    if KubernetesResourceState.OTHER in states:
        return ApplicationLiveStateSnapshot.OTHER
    if not states or (counts_unknown and KubernetesResourceState.UNKNOWN in states):
        return ApplicationLiveStateSnapshot.UNKNOWN
    return ApplicationLiveStateSnapshot.HEALTHY


def _sort_key(version: ApplicationLiveStateVersion) -> tuple[int, int]:
    return version.timestamp, version.index
