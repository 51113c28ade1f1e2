"""Unregistered applications: configurations that agents found in Git, as each agent last reported them."""

from collections.abc import Iterable, Sequence

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.kinds import SUGGESTIONS
from pipecd.model.access import Resource
from pipecd.model.actor import Actor
from pipecd.schema.model.application_pb2 import ApplicationInfo
from pipecd.schema.pipecd.v1.agent_pb2 import ReportUnregisteredApplicationsRequest
from pipecd.schema.pipecd.v1.console_pb2 import Suggestion
from pipecd.wire import kind_name


async def replace(
    store: Store,
    project_id: str,
    piped_id: str,
    applications: Iterable[ApplicationInfo],
    kinds: Iterable[str] = (),
    *,
    by: Actor,
) -> None:
    """Replace what the agent reported. An identical report creates no change notification.

    `kinds` are the names of the applications' kinds; none means that every kind has a number.
    """
    report = ReportUnregisteredApplicationsRequest(applications=applications, kinds=kinds)
    data = report.SerializeToString(deterministic=True)
    await store.put_metadata(SUGGESTIONS, piped_id, project_id, data, by=by)


async def list_for_project(store: Store, project_id: str) -> Sequence[Suggestion]:
    """Sorted by repository and path; `piped_id` is the agent that reported the application."""
    suggestions: list[Suggestion] = []
    for piped_id, (data, _) in (await store.list_metadata(SUGGESTIONS, project_id)).items():
        report = ReportUnregisteredApplicationsRequest.FromString(data)
        kinds = report.kinds or [kind_name(info.kind) for info in report.applications]
        for info, kind in zip(report.applications, kinds, strict=True):
            info.piped_id = piped_id
            suggestions.append(Suggestion(application=info, kind=kind))
    return sorted(suggestions, key=_sort_key)


async def list_for_person(store: Store, person: Person) -> Sequence[Suggestion]:
    """Those whose labels the user's roles include."""
    return [
        suggestion
        for suggestion in await list_for_project(store, person.project_id)
        if person.may(Resource.APPLICATION, suggestion.application.labels)
    ]


def _sort_key(suggestion: Suggestion) -> tuple[str, ...]:
    info = suggestion.application
    return info.repo_id, info.path, info.config_filename, info.piped_id
