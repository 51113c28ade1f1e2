"""Validates an application's file and reports its status.

Called by the trigger loop at each check. An invalid file is reported as INVALID_CONFIG with file, line, key
and remedy, even if another state was reported meanwhile; the next valid commit clears it.
"""

from collections.abc import Callable, Collection

from pipecd.clock import Clock
from pipecd.errors import ConfigError, Temporary
from pipecd.model.application import Application
from pipecd.model.deployment import Commit
from pipecd.model.notification import DeploymentTriggerFailed, NotificationEvent
from pipecd.model.status import SyncStatus
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import config_file_path
from pipecd.piped.source.heads import AppFile, Head

SHORT_REASON = "The application's configuration is invalid"
UNREADABLE = "The Git repository cannot be read"


class ConfigStatus:
    def __init__(
        self, sync_states: SyncStates, view: View, clock: Clock, notify: Callable[[NotificationEvent], None]
    ) -> None:
        self._sync_states, self._view, self._clock, self._notify = sync_states, view, clock, notify
        #: By application: the error last reported by this process.
        self._reported: dict[str, str] = {}

    async def report_invalid(
        self, application: Application, error: ConfigError, commit: Commit | None
    ) -> None:
        """`commit` is the head of the branch, None if it could not be read."""
        reason = str(error)
        state = (SyncStatus.INVALID_CONFIG, reason)
        if (application.sync_status, application.sync_reason) != state:
            await self._sync_states.report(
                application, SyncStatus.INVALID_CONFIG, short=SHORT_REASON, reason=reason
            )
            if application.sync_status is not SyncStatus.INVALID_CONFIG:
                self._view.request_refresh()
        if self._reported.get(application.id) != reason:
            self._reported[application.id] = reason
            self._notify(
                DeploymentTriggerFailed(
                    at=int(self._clock.now()), application=application, commit=commit, reason=reason
                )
            )

    async def report_unreadable(self, application: Application, error: Temporary) -> None:
        """The repository cannot be read for now, so that whether the application is in sync is unknown.

        A state that says more is left: a running deployment, an invalid file.
        """
        reason = f"{UNREADABLE}: {error}"
        if application.sync_status in (SyncStatus.DEPLOYING, SyncStatus.INVALID_CONFIG):
            return
        if (application.sync_status, application.sync_reason) != (SyncStatus.UNKNOWN, reason):
            await self._sync_states.report(application, SyncStatus.UNKNOWN, short=UNREADABLE, reason=reason)
            self._view.request_refresh()

    def prune(self, applications: Collection[str]) -> None:
        """Drops what was reported for applications whose id is not in `applications`."""
        self._reported = {key: reason for key, reason in self._reported.items() if key in applications}
        self._sync_states.prune(applications)

    def needs_report(self, application: Application) -> bool:
        """Whether its file is known to be invalid, but another state was reported since."""
        return application.id in self._reported and application.sync_status is not SyncStatus.INVALID_CONFIG

    async def report_valid(self, application: Application) -> None:
        """Clears an invalid file or an unreadable repository that this or an earlier process reported."""
        reported = self._reported.pop(application.id, None)
        unreadable = application.sync_reason.startswith(UNREADABLE)
        if reported is None and application.sync_status is not SyncStatus.INVALID_CONFIG and not unreadable:
            return
        await self._view.refresh_applications()
        application = self._view.applications.get(application.id, application)
        status, message = _state_without_config(application)
        await self._sync_states.report(application, status, short=message)


def find_application_file(application: Application, head: Head) -> AppFile | ConfigError:
    """The application's file at the head, or the error in it."""
    try:
        path = config_file_path(application.git_path)
    except ConfigError as error:
        return error
    file = head.files[path]
    if isinstance(file, AppFile) and file.kind != application.kind:
        return ConfigError(
            f"{path} defines a {file.kind} application, but it is registered as {application.kind}",
            remedy="fix the kind in the file, or register the application again",
        )
    return file


def _state_without_config(application: Application) -> tuple[SyncStatus, str]:
    """The sync state, derived from deployments alone."""
    last, good = application.last_triggered, application.last_successful
    if application.deploying:
        return SyncStatus.DEPLOYING, "A deployment is in progress"
    if last is None:
        return SyncStatus.UNKNOWN, "The application has not been deployed yet"
    if good is not None and good.deployment_id == last.deployment_id:
        return SyncStatus.SYNCED, "The last deployment succeeded"
    return SyncStatus.OUT_OF_SYNC, "The last deployment did not succeed"
