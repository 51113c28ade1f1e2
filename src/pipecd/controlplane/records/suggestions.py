"""Unregistered applications: configurations that agents found in Git, as each agent last reported them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.kinds import SUGGESTIONS
from pipecd.model.access import Resource
from pipecd.model.actor import Actor
from pipecd.schema.model.application_pb2 import ApplicationInfo
from pipecd.schema.pipecd.v1.agent_pb2 import InvalidFile, ReportUnregisteredApplicationsRequest
from pipecd.schema.pipecd.v1.console_pb2 import Suggestion
from pipecd.wire import kind_name


async def replace(
    store: Store,
    project_id: str,
    piped_id: str,
    applications: Iterable[ApplicationInfo],
    kinds: Iterable[str] = (),
    invalid_files: Iterable[InvalidFile] = (),
    *,
    by: Actor,
) -> None:
    """Replace what the agent reported. An identical report creates no change notification.

    `kinds` are the names of the applications' kinds; none means that every kind has a number.
    """
    report = ReportUnregisteredApplicationsRequest(
        applications=applications, kinds=kinds, invalid_files=invalid_files
    )
    data = report.SerializeToString(deterministic=True)
    await store.put_metadata(SUGGESTIONS, piped_id, project_id, data, by=by)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the agents of a project found in Git. Sorted by repository and path.

    `piped_id` of each is the agent that reported it.
    """

    suggestions: Sequence[Suggestion]
    invalid_files: Sequence[InvalidFile]


async def list_for_project(store: Store, project_id: str) -> Found:
    suggestions: list[Suggestion] = []
    invalid_files: list[InvalidFile] = []
    for piped_id, (data, _) in (await store.list_metadata(SUGGESTIONS, project_id)).items():
        report = ReportUnregisteredApplicationsRequest.FromString(data)
        for file in report.invalid_files:
            file.piped_id = piped_id
            invalid_files.append(file)
        kinds = report.kinds or [kind_name(info.kind) for info in report.applications]
        for info, kind in zip(report.applications, kinds, strict=True):
            info.piped_id = piped_id
            suggestions.append(Suggestion(application=info, kind=kind))
    return Found(
        suggestions=sorted(suggestions, key=_sort_key),
        invalid_files=sorted(invalid_files, key=lambda file: (file.repo_id, file.path, file.piped_id)),
    )


async def list_for_person(store: Store, person: Person) -> Found:
    """The applications whose labels the user's roles include. The labels of an invalid file are unknown."""
    found = await list_for_project(store, person.project_id)
    return Found(
        suggestions=[
            suggestion
            for suggestion in found.suggestions
            if person.may(Resource.APPLICATION, suggestion.application.labels)
        ],
        invalid_files=found.invalid_files if person.may(Resource.APPLICATION, {}) else (),
    )


def _sort_key(suggestion: Suggestion) -> tuple[str, ...]:
    info = suggestion.application
    return info.repo_id, info.path, info.config_filename, info.piped_id
