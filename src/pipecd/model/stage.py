"""The stage contract: how a stage of any platform is called, and what it may return.

A stage is a function from its work to an outcome. It is called repeatedly until it returns `Done` or
`Failed`, with one external effect per call. State that it needs in later calls goes into `Again.saved`, which
is stored before the next call. A kill at any moment loses at most the effect of one call, and the stage finds
that effect by reading back under `Work.token`. There is no other mechanism for surviving a restart.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pipecd.model.application import Application
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.status import StageStatus

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


class StageLog(Protocol):
    """The log shown next to the stage. Lines appear in the console within a second."""

    def info(self, text: str) -> None: ...
    def success(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkout of one commit, with secrets decrypted and attachments rendered where configured.

    `directory` is the application's, inside `root`; `config` is its decoded file
    (`config.application.ApplicationConfig`). Files may be changed: no other work shares the checkout.
    """

    commit: str
    root: Path
    directory: Path
    config: Any


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Options]):
    """The input of a stage call. `now` is the time of the call in epoch seconds."""

    application: Application
    deployment: Deployment
    stage: Stage
    #: The stage's decoded `with`.
    options: Options
    #: The platform provider's decoded `config`, or None if the stage needs none.
    provider: Any
    log: StageLog
    now: float
    #: Identical for every call of this stage of this deployment. External effects carry it to be found again.
    token: str
    #: The stage actions requested so far, oldest first.
    actions: Sequence[StageAction]
    #: Returns the checkout at the deployment's commit.
    target: Callable[[], Awaitable[Source]]
    #: Returns the checkout at the running commit. Raises `Refused` if nothing was deployed before.
    running: Callable[[], Awaitable[Source]]
    #: Checks out another repository, given its remote and a branch, tag or commit.
    checkout_repository: Callable[[str, str], Awaitable[Path]]
    #: Sends a notification, given the event's name (such as `DEPLOYMENT_WAIT_APPROVAL`) and its fields.
    notify: Callable[[str, Mapping[str, str]], None]
    #: Stores bytes under a name for later calls of this application, encrypted with the agent's key.
    store_object: Callable[[str, bytes], Awaitable[None]]
    #: Loads the bytes stored under a name. Raises `NotFound`, or `Refused` if the agent's key was replaced.
    load_object: Callable[[str], Awaitable[bytes]]

    @property
    def saved(self) -> Saved:
        return self.stage.metadata

    @property
    def shared(self) -> Saved:
        return self.deployment.shared


class StageFunction(Protocol):
    async def __call__(self, work: Work[Any], /) -> Outcome: ...
