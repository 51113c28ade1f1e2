"""The stage contract: how a stage of any platform is called, and what it may return.

A stage is a function from its work to an outcome. It is called repeatedly until it returns `Done` or
`Failed`, with one external effect per call. State that it needs in later calls goes into `Again.saved`, which
is stored before the next call. A kill at any moment loses at most the effect of one call. `Work.interrupted`
tells the stage that this may have happened, and it finds the effect by reading back under `Work.token`. A
stage keeps no state in its process. There is no other mechanism for surviving a restart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pipecd.model.analysis import AnalysisProviders
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.downloads import Downloads
from pipecd.model.notification import NotificationEvent
from pipecd.model.provider import FindProviders
from pipecd.model.status import StageStatus

#: Deployment metadata: the address at which the new version alone can be called before it gets traffic.
CANDIDATE_URL = "pipecd/candidate-url"

Options = TypeVar("Options")
Saved = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Done:
    """The stage has ended. `status` may also be SKIPPED, or EXITED to end the deployment as a success."""

    note: str = ""
    status: StageStatus = StageStatus.SUCCESS
    saved: Saved = field(default_factory=dict)
    shared: Saved = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Again:
    """Call the stage again `after` seconds from now, or as soon as a command for the stage arrives.

    Before that call, `saved` is merged into the stage's metadata and `shared` into the deployment's.
    """

    after: float = 0.0
    note: str = ""
    saved: Saved = field(default_factory=dict)
    shared: Saved = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The stage has ended without success. `remedy` tells the user what to do."""

    reason: str
    remedy: str = ""
    saved: Saved = field(default_factory=dict)


Outcome = Done | Again | Failed


@dataclass(frozen=True, kw_only=True)
class StageAction:
    """A user's request to approve or skip a running stage. `id` is the command's."""

    id: str
    requested_by: str
    #: False means skip.
    approve: bool = True
    comment: str = ""
    #: Epoch seconds.
    requested_at: int = 0


class StageLog(Protocol):
    """The log shown next to the stage. Lines appear in the console within a second."""

    def info(self, text: str) -> None: ...
    def success(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...

    async def drain(self) -> None:
        """Wait until the log can take more lines. Called between the lines of a program."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkout of one commit, with secrets decrypted and attachments rendered where configured.

    `directory` is the application's, inside `root`; `config` is its decoded file
    (`config.application.ApplicationConfig`). Only a stage that runs scripts, or whose platform says so, may
    change files: others share the checkout.
    """

    commit: str
    root: Path
    directory: Path
    config: Any
    #: Variables with which a program reads from Git, and from its servers, with the agent's credentials. They
    #: contain secrets: pass them only to what downloads.
    download_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: The decoded `config` of the application's platform provider, or None if it names none.
    provider: Any = None
    downloads: Downloads = field(default_factory=Downloads, repr=False)

    def relative(self, path: Path) -> str:
        """The path of a file in the repository, for messages; the whole path if it is outside."""
        for root in (self.root, self.root.resolve()):
            if path.is_relative_to(root):
                return str(path.relative_to(root))
        return str(path)


class Checkouts(Protocol):
    """Checkouts for one stage. Each is made when it is first needed, and removed when the stage ends."""

    async def target(self) -> Source:
        """The application at the deployment's commit."""
        ...

    async def running(self) -> Source:
        """The application at the running commit. Raises `Refused` if nothing was deployed before."""
        ...

    async def repository(self, remote: str, ref: str, path: str = "") -> Path:
        """Another repository at a branch, tag or commit, of which the directory `path` is needed."""
        ...


class Storage(Protocol):
    """Bytes that a stage stores for later calls of its application, encrypted with the agent's key."""

    async def store(self, name: str, data: bytes) -> None: ...

    async def load(self, name: str) -> bytes:
        """Raises `NotFound`, or `Refused` if the agent's key was replaced."""
        ...


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Options]):
    """The input of a stage call: what the work is, the files it needs, and where it stores and reports.

    `now` is the time of the call in epoch seconds.
    """

    application: Application
    deployment: Deployment
    stage: Stage
    #: The stage's decoded `with`.
    options: Options
    #: The decoded `config` of the application's platform provider, or None if it names none.
    provider: Any
    #: Finds other platform providers of the application's kind.
    providers: FindProviders
    log: StageLog
    now: float
    #: Identical for every call of this stage of this deployment. External effects carry it to be found again.
    token: str
    #: The stage actions requested so far, oldest first.
    actions: Sequence[StageAction]
    #: Whether an earlier call with the same saved state may have been cut short, because its process ended or
    #: it raised `Temporary`. Its effect may exist, entirely or in part.
    interrupted: bool
    checkouts: Checkouts
    storage: Storage
    analysis: AnalysisProviders
    #: Sends a notification. Returns immediately.
    notify: Callable[[NotificationEvent], None]

    @property
    def saved(self) -> Saved:
        return self.stage.metadata

    @property
    def shared(self) -> Saved:
        return self.deployment.shared


class StageFunction(Protocol):
    async def __call__(self, work: Work[Any], /) -> Outcome: ...


class StopFunction(Protocol):
    """Ends what a stage started outside of the agent, such as the execution of a job.

    Called when the stage is cancelled or times out while it runs, also again after a kill. `Temporary` is
    retried for a short time; another error is shown in the stage's log, and the stage ends anyway.
    """

    async def __call__(self, work: Work[Any], /) -> None: ...
