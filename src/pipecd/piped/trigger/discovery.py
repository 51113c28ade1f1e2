"""Reports application files in Git to the control plane: unregistered applications, and changed names,
descriptions and labels of registered ones.

Sends only changes since the last successful report; a failed report is repeated at the next check. A file of
an unregistered application that cannot be suggested is logged and reported with its error.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import structlog

from pipecd.client import Client
from pipecd.config.piped import PipedSpec
from pipecd.errors import ConfigError, Place, Temporary, Unsupported
from pipecd.model.application import Application
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import config_file_path
from pipecd.piped.source.heads import AppFile, Head, Heads, MissingFile
from pipecd.printable import printable
from pipecd.schema.agent.applications_pb2 import (
    ReportUnregisteredApplicationConfigurationsRequest,
    UpdateApplicationConfigurationsRequest,
)
from pipecd.schema.model.application_pb2 import ApplicationInfo
from pipecd.schema.pipecd.v1.agent_pb2 import InvalidFile, ReportUnregisteredApplicationsRequest
from pipecd.wire import has_number, kind_number

log = structlog.get_logger()

#: An unregistered application and the name of its kind.
Suggestion = tuple[ApplicationInfo, str]
#: Invalid files that are reported and logged; there may be thousands in a repository.
MAX_INVALID_FILES = 50
#: In characters: an error quotes what the file contains.
MAX_ERROR_LENGTH = 1000
#: Of one request; the size is in bytes. gRPC messages are limited to 4 MiB.
MAX_APPLICATIONS, MAX_REQUEST_SIZE = 20_000, 3 * 2**20
#: Of one application in a request: its kind and the lengths of its fields (bytes).
MAX_OVERHEAD = 100


@dataclass(frozen=True)
class _Unregistered:
    """The file of an unregistered application. `error` is why it cannot be suggested."""

    head: Head
    path: str
    content: AppFile | ConfigError
    error: ConfigError | None


class Discovery:
    def __init__(
        self,
        client: Client,
        spec: PipedSpec,
        view: View,
        leadership: Leadership,
        heads: Heads,
        redact: Callable[[str], str],
    ) -> None:
        self._client, self._spec, self._view, self._redact = client, spec, view, redact
        self._leadership, self._heads = leadership, heads
        self._reported: bytes | None = None
        #: Repository and path → error that was logged.
        self._logged: Mapping[tuple[str, str], str] = {}

    async def check(self) -> None:
        """Checks every repository once."""
        await self._view.wait_until_loaded()
        if not self._leadership.lease.may_begin:
            return
        heads = [head for repo_id in self._heads.repositories if (head := await self._head(repo_id))]
        applications = list(self._view.applications.values())
        await self._update([info for head in heads for info in changed_applications(head, applications)])
        if len(heads) == len(self._heads.repositories):
            found = [file for head in heads for file in self._unregistered(head, applications)]
            invalid_files = self._invalid_files(found)
            self._log_new(invalid_files)
            suggestions = [
                (self._info(file.head, file.path, file.content), file.content.kind)
                for file in found
                if file.error is None and isinstance(file.content, AppFile)
            ]
            await self._report_unregistered(suggestions, invalid_files)

    async def _head(self, repo_id: str) -> Head | None:
        try:
            return await self._heads.load_head(repo_id)
        except (Temporary, ConfigError) as error:
            log.warning("discovery_skipped_repository", repository=repo_id, error=str(error))
            return None

    async def _update(self, infos: Sequence[ApplicationInfo]) -> None:
        if infos:
            # Of very many, the rest is sent at the next check.
            request = UpdateApplicationConfigurationsRequest(
                applications=infos[: _count_within_request(infos)]
            )
            await self._client.call(self._client.piped.UpdateApplicationConfigurations, request)
            await self._view.refresh_applications()

    async def _report_unregistered(
        self, suggestions: Sequence[Suggestion], invalid_files: Sequence[InvalidFile]
    ) -> None:
        count = _count_within_request([info for info, _ in suggestions])
        found, suggestions = len(suggestions), suggestions[:count]
        infos, kinds = [info for info, _ in suggestions], [kind for _, kind in suggestions]
        request = ReportUnregisteredApplicationsRequest(
            applications=infos, kinds=kinds, invalid_files=invalid_files
        )
        content = request.SerializeToString(deterministic=True)
        if content == self._reported:
            return
        if count < found:
            log.warning("suggestions_omitted", reported=count, found=found)
        try:
            await self._client.call(self._client.agent.ReportUnregisteredApplications, request)
        except Unsupported:
            # PipeCD's control plane would suggest kinds without a number as Kubernetes applications.
            known = [info for info, kind in suggestions if has_number(kind)]
            fallback = ReportUnregisteredApplicationConfigurationsRequest(applications=known)
            await self._client.call(self._client.piped.ReportUnregisteredApplicationConfigurations, fallback)
        self._reported = content

    def _unregistered(self, head: Head, applications: Iterable[Application]) -> Iterable["_Unregistered"]:
        """The files of unregistered applications that this agent may deploy, sorted by path."""
        registered = {
            config_path(application)
            for application in applications
            if application.git_path.repo_id == head.repository.id
        }
        for path, app_file in sorted(head.files.items()):
            if path in registered or isinstance(app_file, MissingFile):
                continue
            if isinstance(app_file, ConfigError):
                yield _Unregistered(head, path, app_file, app_file)
            elif matches_selector(app_file.labels, self._spec.app_selector):
                yield _Unregistered(head, path, app_file, _error(path, app_file))

    def _invalid_files(self, found: Iterable["_Unregistered"]) -> Sequence[InvalidFile]:
        """The first files of unregistered applications that cannot be suggested, with their errors."""
        invalid_files = (
            InvalidFile(
                repo_id=file.head.repository.id,
                path=printable(file.path)[:MAX_ERROR_LENGTH],
                error=printable(self._redact(str(file.error)))[:MAX_ERROR_LENGTH],
            )
            for file in found
            if file.error
        )
        return list(itertools.islice(invalid_files, MAX_INVALID_FILES))

    def _log_new(self, invalid_files: Sequence[InvalidFile]) -> None:
        """Log the errors that are new since the last check: once for each commit that changes them."""
        errors = {(file.repo_id, file.path): file.error for file in invalid_files}
        for (repo_id, path), error in errors.items():
            if self._logged.get((repo_id, path)) != error:
                log.warning("unregistered_application_invalid", repository=repo_id, file=path, error=error)
        self._logged = errors

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


def _error(path: str, app_file: AppFile) -> ConfigError | None:
    """Why an unregistered application with a valid file cannot be suggested."""
    try:
        path.encode()
    except UnicodeEncodeError:
        # Git allows any bytes.
        return ConfigError(
            "the path is not UTF-8", remedy="rename the file or its directory", place=Place(path)
        )
    if not app_file.name:
        return ConfigError(
            "the application has no name, so it cannot be suggested",
            remedy="add spec.name, or register the application manually",
            place=Place(path),
        )
    return None


def _count_within_request(infos: Sequence[ApplicationInfo]) -> int:
    """How many of `infos` fit into one request."""
    sizes = itertools.accumulate(info.ByteSize() + MAX_OVERHEAD for info in infos)
    return sum(1 for size in itertools.islice(sizes, MAX_APPLICATIONS) if size <= MAX_REQUEST_SIZE)


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
