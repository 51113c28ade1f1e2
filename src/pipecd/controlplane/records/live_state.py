"""Applies resource events to the latest live-state snapshot of an application."""

from pipecd.schema.model.live_state_pb2 import (
    ApplicationLiveStateSnapshot,
    ApplicationLiveStateVersion,
    KubernetesResourceStateEvent,
)

#: Kind of a snapshot's change in the change feed; its `id` is the application's.
CHANGE_KIND = "live_state"


def apply_event(snapshot: ApplicationLiveStateSnapshot, event: KubernetesResourceStateEvent) -> bool:
    """Apply `event` to `snapshot`; return whether it changed. Events older than the snapshot are ignored."""
    if _sort_key(event.snapshot_version) < _sort_key(snapshot.version):
        return False
    resources = snapshot.kubernetes.resources
    position = next(
        (index for index, resource in enumerate(resources) if resource.id == event.state.id), None
    )
    if event.type == KubernetesResourceStateEvent.DELETED:
        if position is None:
            return False
        del resources[position]
    elif position is None:
        resources.append(event.state)
    else:
        resources[position].CopyFrom(event.state)
    snapshot.version.CopyFrom(event.snapshot_version)
    return True


def _sort_key(version: ApplicationLiveStateVersion) -> tuple[int, int]:
    return version.timestamp, version.index
