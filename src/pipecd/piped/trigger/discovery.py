"""Reports application files in Git to the control plane: unregistered applications, and changed names,
descriptions and labels of registered ones.

Sends only changes since the last successful report; a failed report is repeated at the next check.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import structlog

from pipecd.client import Client
from pipecd.config.piped import PipedSpec
from pipecd.errors import ConfigError, Temporary, Unsupported
from pipecd.model.application import Application
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import config_file_path
from pipecd.piped.source.heads import AppFile, Head, Heads
from pipecd.schema.agent.applications_pb2 import (
    ReportUnregisteredApplicationConfigurationsRequest,
    UpdateApplicationConfigurationsRequest,
)
from pipecd.schema.model.application_pb2 import ApplicationInfo
from pipecd.schema.pipecd.v1.agent_pb2 import ReportUnregisteredApplicationsRequest
from pipecd.wire import has_number, kind_number

log = structlog.get_logger()

#: An unregistered application and the name of its kind.
Suggestion = tuple[ApplicationInfo, str]


class Discovery:
    def __init__(
        self, client: Client, spec: PipedSpec, view: View, leadership: Leadership, heads: Heads
    ) -> None:
        self._client, self._spec, self._view = client, spec, view
        self._leadership, self._heads = leadership, heads
        self._reported: bytes | None = None

    async def check(self) -> None:
        """Checks every repository once."""
        await self._view.wait_until_loaded()
        if not self._leadership.lease.may_begin:
            return
        heads = [head for repo_id in self._heads.repositories if (head := await self._head(repo_id))]
        applications = list(self._view.applications.values())
        await self._update([info for head in heads for info in changed_applications(head, applications)])
        if len(heads) == len(self._heads.repositories):
            suggestions = [pair for head in heads for pair in self._unregistered(head, applications)]
            await self._report_unregistered(suggestions)

    async def _head(self, repo_id: str) -> Head | None:
        try:
            return await self._heads.load_head(repo_id)
        except (Temporary, ConfigError) as error:
            log.warning("discovery_skipped_repository", repository=repo_id, error=str(error))
            return None

    async def _update(self, infos: Sequence[ApplicationInfo]) -> None:
        if infos:
            request = UpdateApplicationConfigurationsRequest(applications=infos)
            await self._client.call(self._client.piped.UpdateApplicationConfigurations, request)
            await self._view.refresh_applications()

    async def _report_unregistered(self, suggestions: Sequence[Suggestion]) -> None:
        infos, kinds = [info for info, _ in suggestions], [kind for _, kind in suggestions]
        request = ReportUnregisteredApplicationsRequest(applications=infos, kinds=kinds)
        content = request.SerializeToString(deterministic=True)
        if content == self._reported:
            return
        try:
            await self._client.call(self._client.agent.ReportUnregisteredApplications, request)
        except Unsupported:
            # PipeCD's control plane would suggest kinds without a number as Kubernetes applications.
            known = [info for info, kind in suggestions if has_number(kind)]
            fallback = ReportUnregisteredApplicationConfigurationsRequest(applications=known)
            await self._client.call(self._client.piped.ReportUnregisteredApplicationConfigurations, fallback)
        self._reported = content

    def _unregistered(self, head: Head, applications: Iterable[Application]) -> Iterable[Suggestion]:
        registered = {
            config_path(application)
            for application in applications
            if application.git_path.repo_id == head.repository.id
        }
        for path, app_file in sorted(head.files.items()):
            if path in registered or not isinstance(app_file, AppFile) or not app_file.name:
                continue
            if matches_selector(app_file.labels, self._spec.app_selector):
                yield self._info(head, path, app_file), app_file.kind

    def _info(self, head: Head, path: str, app_file: AppFile) -> ApplicationInfo:
        place = PurePosixPath(path)
        return ApplicationInfo(
            name=app_file.name,
            kind=kind_number(app_file.kind),
            labels=dict(app_file.labels),
            repo_id=head.repository.id,
            path=wire_path(str(place.parent)),
            config_filename=place.name,
            piped_id=self._spec.piped_id,
            description=app_file.description,
        )


def changed_applications(head: Head, applications: Iterable[Application]) -> Iterable[ApplicationInfo]:
    """The applications whose name, description or labels differ from the control plane's record."""
    for application in applications:
        if application.git_path.repo_id != head.repository.id:
            continue
        app_file = head.files.get(config_path(application))
        if not isinstance(app_file, AppFile):
            continue
        name = app_file.name or application.name
        if (name, app_file.description, dict(app_file.labels)) == (
            application.name,
            application.description,
            dict(application.labels),
        ):
            continue
        yield ApplicationInfo(
            id=application.id,
            name=name,
            kind=kind_number(application.kind),
            labels=dict(app_file.labels),
            repo_id=application.git_path.repo_id,
            path=application.git_path.path,
            config_filename=application.git_path.config_filename,
            piped_id=application.piped_id,
            description=app_file.description,
        )


def config_path(application: Application) -> str:
    """The path of the application's file; empty if it is outside the repository."""
    try:
        return config_file_path(application.git_path)
    except ConfigError:
        return ""


def matches_selector(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether `labels` contain all labels of `selector`."""
    return all(labels.get(key) == value for key, value in selector.items())


def wire_path(directory: str) -> str:
    """The directory as sent to the control plane, which requires at least two characters."""
    if directory == ".":
        return "./"
    return directory if len(directory) > 1 else f"./{directory}"
