"""The stage contract: how a stage of any platform is called, and what it may answer.

A stage is a function from its work to an outcome. It is called again and again until it says that
it is done: one external effect a call, and what it must remember goes into `Again.saved`, which is
stored before the next call. A kill at any moment loses at most the effect of one call, and the
stage finds that again by reading back under `Work.token`. There is no other way to survive a
restart, and none is needed.
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
    """The stage is over. `status` may also be SKIPPED, or EXITED to end the deployment as a success."""

    note: str = ""
    status: StageStatus = StageStatus.SUCCESS
    saved: Saved = field(default_factory=dict)
    shared: Saved = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Again:
    """Call once more, `after` seconds from now or as soon as a command for the stage arrives.

    `saved` is merged into the stage's metadata and `shared` into the deployment's before that.
    """

    after: float = 0.0
    note: str = ""
    saved: Saved = field(default_factory=dict)
    shared: Saved = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The stage is over and did not do its work. `remedy` tells a person what to do."""

    reason: str
    remedy: str = ""
    saved: Saved = field(default_factory=dict)


Outcome = Done | Again | Failed


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a person asked of a running stage. `id` is the command's."""

    id: str
    commander: str
    #: False means: skip.
    approve: bool = True


class StageLog(Protocol):
    """The log that people read beside the stage. Lines appear in the console within a second."""

    def info(self, text: str) -> None: ...
    def success(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkout of one commit, with secrets decrypted and attachments rendered where configured.

    `directory` is the application's, inside `root`; `config` is its decoded file
    (`config.application.ApplicationConfig`). Files may be changed freely: the copy is this work's own.
    """

    commit: str
    root: Path
    directory: Path
    config: Any


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Options]):
    """What a stage is given. `now` is epoch seconds at the call."""

    application: Application
    deployment: Deployment
    stage: Stage
    #: The stage's decoded `with`.
    options: Options
    #: The platform provider's decoded `config`, or None where the stage needs none.
    provider: Any
    log: StageLog
    now: float
    #: The same for each call of this stage of this deployment; put it where effects can be found again.
    token: str
    #: What people asked of this stage so far, oldest first.
    orders: Sequence[Order]
    #: The checkout at the deployment's commit.
    target: Callable[[], Awaitable[Source]]
    #: The checkout at the running commit; raises `Refused` when nothing was deployed before.
    running: Callable[[], Awaitable[Source]]
    #: A copy of another repository: its remote, and a branch, tag or commit of it.
    elsewhere: Callable[[str, str], Awaitable[Path]]
    #: Tells people about something: the event's name (`DEPLOYMENT_WAIT_APPROVAL`) and its fields.
    notify: Callable[[str, Mapping[str, str]], None]
    #: Keeps bytes of this application under a name, sealed with the agent's key, for calls to come.
    keep: Callable[[str, bytes], Awaitable[None]]
    #: What was kept under a name; raises `NotFound`, or `Refused` when the agent's key was replaced.
    kept: Callable[[str], Awaitable[bytes]]

    @property
    def saved(self) -> Saved:
        return self.stage.metadata

    @property
    def shared(self) -> Saved:
        return self.deployment.shared


class StageFunction(Protocol):
    async def __call__(self, work: Work[Any], /) -> Outcome: ...
