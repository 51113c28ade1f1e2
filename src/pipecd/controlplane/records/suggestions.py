"""Unregistered applications: configurations that agents found in Git, as each agent last reported them."""

from collections.abc import Iterable, Sequence

from pipecd.controlplane.store import Store
from pipecd.controlplane.store.kinds import SUGGESTIONS
from pipecd.model.actor import Actor
from pipecd.schema.agent.applications_pb2 import ReportUnregisteredApplicationConfigurationsRequest
from pipecd.schema.model.application_pb2 import ApplicationInfo


async def replace(
    store: Store, project_id: str, piped_id: str, applications: Iterable[ApplicationInfo], *, by: Actor
) -> None:
    """Replace what the agent reported. An identical report creates no change notification."""
    data = ReportUnregisteredApplicationConfigurationsRequest(applications=applications).SerializeToString(
        deterministic=True
    )
    await store.put_metadata(SUGGESTIONS, piped_id, project_id, data, by=by)


async def list_for_project(store: Store, project_id: str) -> Sequence[ApplicationInfo]:
    """Sorted by repository and path; `piped_id` is the agent that reported the application."""
    applications: list[ApplicationInfo] = []
    for piped_id, (data, _) in (await store.list_metadata(SUGGESTIONS, project_id)).items():
        for info in ReportUnregisteredApplicationConfigurationsRequest.FromString(data).applications:
            info.piped_id = piped_id
            applications.append(info)
    return sorted(
        applications, key=lambda info: (info.repo_id, info.path, info.config_filename, info.piped_id)
    )
