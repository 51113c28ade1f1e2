"""Whether an application's file can be used, and how people learn that it cannot.

`trigger` asks at each look. A broken file shows as INVALID_CONFIG with file, line, key and remedy, whatever
else was reported meanwhile; the next good commit takes that away again.
"""

from pipecd.errors import ConfigError
from pipecd.model.application import Application
from pipecd.model.status import SyncStatus
from pipecd.piped.notify.log import log_notification
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import config_file
from pipecd.piped.source.heads import AppFile, Head

SHORT = "The application's file cannot be used"


class Soundness:
    def __init__(self, reports: Reports, view: View) -> None:
        self._reports, self._view = reports, view
        #: Application → what was last said of its file, in this process.
        self._told: dict[str, str] = {}

    async def broken(self, application: Application, error: ConfigError) -> None:
        reason = str(error)
        shown = (SyncStatus.INVALID_CONFIG, reason)
        if (application.sync_status, application.sync_reason) != shown:
            await self._reports.sync_state(
                application.id, SyncStatus.INVALID_CONFIG, short=SHORT, reason=reason
            )
            if application.sync_status is not SyncStatus.INVALID_CONFIG:
                self._view.look_again()
        if self._told.get(application.id) != reason:
            self._told[application.id] = reason
            log_notification("DEPLOYMENT_TRIGGER_FAILED", {"application": application.name, "reason": reason})

    def unsaid(self, application: Application) -> bool:
        """Whether its file is known to be broken, and something else is shown."""
        return application.id in self._told and application.sync_status is not SyncStatus.INVALID_CONFIG

    async def healed(self, application: Application) -> None:
        """Nothing to do unless the file was broken, as far as anybody knows."""
        told = self._told.pop(application.id, None)
        if told is None and application.sync_status is not SyncStatus.INVALID_CONFIG:
            return
        await self._view.refresh_applications()
        status, words = _state(self._view.applications.get(application.id, application))
        await self._reports.sync_state(application.id, status, short=words)


def sound_file(application: Application, head: Head) -> AppFile | ConfigError:
    """What the file at the head says, or what is wrong with it."""
    try:
        path = config_file(application.git_path)
    except ConfigError as error:
        return error
    file = head.files[path]
    if isinstance(file, AppFile) and file.kind != application.kind.name:
        return ConfigError(
            f"{path} describes a {file.kind} application, not a {application.kind.name} one as registered",
            remedy="correct the kind in the file, or register the application anew",
        )
    return file


def _state(application: Application) -> tuple[SyncStatus, str]:
    """How things stand apart from the file."""
    last, good = application.last_triggered, application.last_successful
    if application.deploying:
        return SyncStatus.DEPLOYING, "A deployment is under way"
    if last is None:
        return SyncStatus.UNKNOWN, "The application was not deployed yet"
    if good is not None and good.deployment_id == last.deployment_id:
        return SyncStatus.SYNCED, "The last deployment succeeded"
    return SyncStatus.OUT_OF_SYNC, "The last deployment did not succeed"
