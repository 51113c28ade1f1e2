"""Live state of a Cloud Run application: the service with the revisions that have traffic or tags, or the job
with its last executions. Called by the agent's live-state loop.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Health, Resource
from pipecd.platforms.cloudrun import traffic
from pipecd.platforms.cloudrun.client import JOB_LABEL, SERVICE_LABEL, CloudRunClient, Object, connect
from pipecd.platforms.cloudrun.health import state_of
from pipecd.platforms.cloudrun.manifest import Manifest

#: Executions of a job that are shown.
_EXECUTIONS = 3


async def load_live_state(request: ObservationRequest) -> Sequence[Resource]:
    desired: Manifest | None = request.desired
    if desired is None:
        return []
    async with connect(request.provider) as client:
        if desired.is_job:
            return await _job(client, desired.name)
        return await _service(client, desired.name)


async def _service(client: CloudRunClient, name: str) -> Sequence[Resource]:
    service = await client.find_current("services", name)
    if service is None:
        return []
    shares, tags = traffic.shares_of(service), traffic.tags_of(service)
    top = _resource(
        service, "Service", notes=[str((service.get("status") or {}).get("url") or "")[: traffic.MAX_URL]]
    )
    used = {*shares, *tags.values()}
    if not used:
        return [top]
    found = await client.list_unchanged("revisions", f"{SERVICE_LABEL}={name}", service)
    revisions = []
    for revision in found:
        revision_name = revision["metadata"]["name"]
        if revision_name in used:
            own = [tag for tag, tagged in tags.items() if tagged == revision_name]
            notes = [f"{shares.get(revision_name, 0)} % of the traffic"]
            notes += [
                f"tag {tag}: {url}" if (url := traffic.url_of_tag(service, tag)) else f"tag {tag}"
                for tag in own
            ]
            revisions.append(_resource(revision, "Revision", parents=(top.id,), notes=notes))
    return [top, *revisions]


async def _job(client: CloudRunClient, name: str) -> Sequence[Resource]:
    job = await client.find_current("jobs", name)
    if job is None:
        return []
    top = _resource(job, "Job")
    executions = await client.list("executions", f"{JOB_LABEL}={name}", limit=_EXECUTIONS)
    return [
        top,
        *(_resource(found, "Execution", parents=(top.id,), notes=_tasks(found)) for found in executions),
    ]


def _tasks(execution: Object) -> Sequence[str]:
    status = execution.get("status") or {}
    counts = {
        "running": status.get("runningCount"),
        "succeeded": status.get("succeededCount"),
        "failed": status.get("failedCount"),
        "cancelled": status.get("cancelledCount"),
    }
    return (
        [f"tasks: {', '.join(f'{count} {word}' for word, count in counts.items() if count)}"]
        if any(counts.values())
        else []
    )


def _resource(live: Object, kind: str, *, parents: Sequence[str] = (), notes: Sequence[str] = ()) -> Resource:
    metadata: Mapping[str, Any] = live["metadata"]
    health, reason = _health(live)
    created = _seconds(metadata.get("creationTimestamp"))
    return Resource(
        id=str(metadata.get("uid") or f"{kind}/{metadata['name']}"),
        kind=kind,
        name=str(metadata["name"]),
        api_version=str(live.get("apiVersion") or ""),
        parents=tuple(parents),
        health=health,
        health_reason="; ".join(part for part in (*notes, reason) if part),
        created_at=created,
        updated_at=max([created, *(_seconds(item.get("lastTransitionTime")) for item in _conditions(live))]),
    )


def _health(live: Object) -> tuple[Health, str]:
    state = state_of(live)
    if state.ready is None:
        return Health.UNKNOWN, state.message
    return (Health.HEALTHY if state.ready else Health.UNHEALTHY), state.message


def _conditions(live: Object) -> Sequence[Mapping[str, Any]]:
    return (live.get("status") or {}).get("conditions") or ()


def _seconds(text: Any) -> int:
    try:
        return int(datetime.fromisoformat(str(text)).timestamp())
    except ValueError:
        return 0
