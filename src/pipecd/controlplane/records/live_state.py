"""Live state: the newest snapshot of each application, kept up to date by events of its resources."""

from pipecd.schema.model.live_state_pb2 import (
    ApplicationLiveStateSnapshot,
    ApplicationLiveStateVersion,
    KubernetesResourceStateEvent,
)

#: What the change feed calls a new snapshot; `id` is the application's.
CHANGED = "live_state"


def apply_event(snapshot: ApplicationLiveStateSnapshot, event: KubernetesResourceStateEvent) -> bool:
    """Whether `event`, applied to `snapshot`, changed it; one made before the snapshot does nothing."""
    if _order(event.snapshot_version) < _order(snapshot.version):
        return False
    resources = snapshot.kubernetes.resources
    place = next((index for index, one in enumerate(resources) if one.id == event.state.id), None)
    if event.type == KubernetesResourceStateEvent.DELETED:
        if place is None:
            return False
        del resources[place]
    elif place is None:
        resources.append(event.state)
    else:
        resources[place].CopyFrom(event.state)
    snapshot.version.CopyFrom(event.snapshot_version)
    return True


def _order(version: ApplicationLiveStateVersion) -> tuple[int, int]:
    return version.timestamp, version.index
