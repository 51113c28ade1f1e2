"""Tells the control plane which application files lie in Git: unregistered ones as suggestions, and
what registered ones now say about their name, description and labels.

Sends only what changed since the last answer; a list that could not be sent is sent the next time.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import structlog

from pipecd.client import Client
from pipecd.config.piped import PipedSpec
from pipecd.errors import ConfigError, Temporary
from pipecd.model.application import Application, ApplicationKind
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import config_file
from pipecd.piped.source.heads import AppFile, Head, Heads
from pipecd.schema.agent.applications_pb2 import (
    ReportUnregisteredApplicationConfigurationsRequest,
    UpdateApplicationConfigurationsRequest,
)
from pipecd.schema.model.application_pb2 import ApplicationInfo
from pipecd.wire import kind_to

log = structlog.get_logger()


class Discovery:
    def __init__(
        self, client: Client, spec: PipedSpec, view: View, leadership: Leadership, heads: Heads
    ) -> None:
        self._client, self._spec, self._view = client, spec, view
        self._leadership, self._heads = leadership, heads
        self._suggested: Sequence[bytes] | None = None

    async def look(self) -> None:
        """One look at every repository."""
        await self._view.loaded()
        if not self._leadership.lease.may_begin:
            return
        heads = [head for repo_id in self._heads.repositories if (head := await self._head(repo_id))]
        applications = list(self._view.applications.values())
        await self._update([info for head in heads for info in renamed(head, applications)])
        if len(heads) == len(self._heads.repositories):
            found = [info for head in heads for info in self._unregistered(head, applications)]
            await self._suggest(found)

    async def _head(self, repo_id: str) -> Head | None:
        try:
            return await self._heads.look(repo_id)
        except (Temporary, ConfigError) as error:
            log.warning("repository left out of discovery", repository=repo_id, why=str(error))
            return None

    async def _update(self, infos: Sequence[ApplicationInfo]) -> None:
        if infos:
            request = UpdateApplicationConfigurationsRequest(applications=infos)
            await self._client.call(self._client.piped.UpdateApplicationConfigurations, request)
            await self._view.refresh_applications()

    async def _suggest(self, found: Sequence[ApplicationInfo]) -> None:
        content = [info.SerializeToString(deterministic=True) for info in found]
        if content == self._suggested:
            return
        request = ReportUnregisteredApplicationConfigurationsRequest(applications=found)
        await self._client.call(self._client.piped.ReportUnregisteredApplicationConfigurations, request)
        self._suggested = content

    def _unregistered(self, head: Head, applications: Iterable[Application]) -> Iterable[ApplicationInfo]:
        registered = {file_of(one) for one in applications if one.git_path.repo_id == head.repository.id}
        for path, facts in sorted(head.files.items()):
            if path in registered or not isinstance(facts, AppFile) or not facts.name:
                continue
            if selected(facts.labels, self._spec.app_selector):
                yield self._info(head, path, facts)

    def _info(self, head: Head, path: str, facts: AppFile) -> ApplicationInfo:
        place = PurePosixPath(path)
        return ApplicationInfo(
            name=facts.name,
            kind=kind_to(ApplicationKind[facts.kind]),
            labels=dict(facts.labels),
            repo_id=head.repository.id,
            path=wire_path(str(place.parent)),
            config_filename=place.name,
            piped_id=self._spec.piped_id,
            description=facts.description,
        )


def renamed(head: Head, applications: Iterable[Application]) -> Iterable[ApplicationInfo]:
    """The applications whose file says something else about them than the control plane does."""
    for one in applications:
        if one.git_path.repo_id != head.repository.id:
            continue
        facts = head.files.get(file_of(one))
        if not isinstance(facts, AppFile):
            continue
        name = facts.name or one.name
        if (name, facts.description, dict(facts.labels)) == (one.name, one.description, dict(one.labels)):
            continue
        yield ApplicationInfo(
            id=one.id,
            name=name,
            kind=kind_to(one.kind),
            labels=dict(facts.labels),
            repo_id=one.git_path.repo_id,
            path=one.git_path.path,
            config_filename=one.git_path.config_filename,
            piped_id=one.piped_id,
            description=facts.description,
        )


def file_of(application: Application) -> str:
    """Where the application's file is; empty when its path leads out of the repository."""
    try:
        return config_file(application.git_path)
    except ConfigError:
        return ""


def selected(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether all of `selector` is among `labels`."""
    return all(labels.get(key) == value for key, value in selector.items())


def wire_path(directory: str) -> str:
    """The wire wants at least two characters."""
    if directory == ".":
        return "./"
    return directory if len(directory) > 1 else f"./{directory}"
