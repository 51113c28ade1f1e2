"""Applications that agents found in Git and nobody registered: kept as each agent said last."""

from collections.abc import Iterable, Sequence

from pipecd.controlplane.store import Store
from pipecd.schema.agent.applications_pb2 import ReportUnregisteredApplicationConfigurationsRequest
from pipecd.schema.model.application_pb2 import ApplicationInfo

_FACT = "suggestions"
#: What the change feed calls it.
CHANGED = "suggestions"


async def replace(store: Store, project_id: str, piped_id: str, found: Iterable[ApplicationInfo]) -> None:
    """Everything that the agent suggests from now on. Saying the same again tells nobody."""
    data = ReportUnregisteredApplicationConfigurationsRequest(applications=found).SerializeToString(
        deterministic=True
    )
    known = await store.get_fact(_FACT, piped_id)
    if known is None or known[0] != data:
        await store.put_fact(_FACT, piped_id, project_id, data, announce=CHANGED)


async def of_project(store: Store, project_id: str) -> Sequence[ApplicationInfo]:
    """By repository and path; each carries the id of the agent that found it."""
    found: list[ApplicationInfo] = []
    for piped_id, (data, _) in (await store.facts(_FACT, project_id)).items():
        for info in ReportUnregisteredApplicationConfigurationsRequest.FromString(data).applications:
            info.piped_id = piped_id
            found.append(info)
    return sorted(found, key=lambda info: (info.repo_id, info.path, info.config_filename, info.piped_id))
