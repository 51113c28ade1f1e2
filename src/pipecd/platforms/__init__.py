"""What a platform is. `registry` finds and loads the installed ones, of this and of other packages.

Planning, loops, the start of a rollback and reporting are shared code in `piped`; a platform holds only what
differs.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from pipecd.config.application import ApplicationConfig, ApplicationSpec, SpecError
from pipecd.model.deployment import Version
from pipecd.model.details import DetailsRequest, LogLine, LogRequest, ResourceDetails
from pipecd.model.drift import Drift
from pipecd.model.observation import ObservationRequest
from pipecd.model.plan import Predefined as Predefined
from pipecd.model.plan import Strategy as Strategy
from pipecd.model.preview import Preview, PreviewRequest
from pipecd.model.provider import FindProviders
from pipecd.model.resource import Resource
from pipecd.model.stage import Source, StageFunction, StopFunction

Desired = TypeVar("Desired")


@dataclass(frozen=True, kw_only=True)
class Observes:
    """Optional capability: reports the live state of an application. The agent sends only changes on."""

    #: Returns all resources of the application that run now, parents before children.
    load: Callable[[ObservationRequest], Awaitable[Sequence[Resource]]]
    #: Polling interval (seconds).
    interval: float = 15.0
    #: Polling interval while a deployment runs (seconds), shorter because users watch the console then. When
    #: the deployment ends, the agent polls immediately.
    interval_deploying: float = 5.0
    #: Whether `load` runs a program in a checkout, possibly for minutes. Such platforms are polled one
    #: application at a time.
    runs_program: bool = False
    #: Whether the live state shows manual changes. If so, drift is detected less often while it is unchanged.
    shows_manual_changes: bool = True


@dataclass(frozen=True, kw_only=True)
class Compares:
    """Optional capability: compares the live state with Git."""

    #: Takes no lock and changes nothing. Raises UserError when the comparison is impossible.
    detect: Callable[[ObservationRequest], Awaitable[Drift]]
    #: Polling interval (seconds).
    interval: float = 60.0
    #: Whether the provider's `config` (None without a provider) enables drift detection.
    enabled: Callable[[Any], bool] = lambda provider: True


@dataclass(frozen=True, kw_only=True)
class Details:
    """Optional capability: shows one resource of the live state to a user who waits for it."""

    #: Raises NotFound unless the resource belongs to the application. What else cannot be read is a note.
    load: Callable[[DetailsRequest], Awaitable[ResourceDetails]]
    #: Follows the log of a container, as lists of lines that came together, the first of which may be empty.
    #: Ends with the container; closing the iterator ends it earlier. Raises as `load`. None without logs.
    follow_log: Callable[[LogRequest], AsyncIterator[Sequence[LogLine]]] | None = None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Optional capability: what a later process of the agent can use. It may be lost: it saves work only.

    It must contain no secrets. `load` ignores what it cannot read.
    """

    dump: Callable[[], bytes]
    load: Callable[[bytes], None]


#: Optional capability: follows the platform in the background, given the decoded `config` of a provider (None
#: without one). Calls its second argument with the id of every application whose live state may have changed;
#: others are ignored. Runs until cancelled; when it raises, it is started again after a delay.
Watch = Callable[[Any, Callable[[str], None]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, kw_only=True)
class Platform(Generic[Desired]):
    """How applications of one kind are read, planned and deployed.

    `Desired` is the state that an application's files declare, as the platform models it.
    """

    #: `kind` in application files: the name of the kind in any case, followed by `App`.
    config_kind: str
    #: Decodes `spec` of such a file.
    spec: type[ApplicationSpec]
    #: The key of `spec` that the fields below `plugins.<name>` belong to in a file of PipeCD's plugin
    #: architecture; empty if they are keys of `spec`.
    plugin_fields: str = ""
    #: Decodes `config` of a platform provider in the agent's file.
    provider: type[BaseModel]
    quick_sync: Predefined
    #: Default of `autoRollback`: whether a failed deployment is rolled back.
    auto_rollback: bool = True
    #: Stage name → the type its `with` is decoded to, for the stages that a pipeline may contain.
    options: Mapping[str, type[BaseModel]]
    #: What is wrong with a decoded file as a whole, such as stages of the pipeline that do not fit together.
    #: Not called for what is deployed already.
    check: Callable[[Any], Iterable[SpecError]] = lambda spec: ()
    #: The functions of the same stages, of the quick sync, and of ROLLBACK if the platform can roll back.
    stages: Mapping[str, StageFunction]
    #: Whether these functions leave the files of their checkouts as they are, except where `writes_files` is
    #: true. Stages of several applications then share a checkout, which may contain no more than what
    #: `load_desired_state` reads.
    stages_share_checkouts: bool = False
    #: Optional: for stages that start work outside of the agent, what ends it.
    stop: Mapping[str, StopFunction] = field(default_factory=dict)
    #: Reads the state that the application's files declare. Raises ConfigError with file, line and key.
    load_desired_state: Callable[[Source], Awaitable[Desired]]
    #: What else `load_desired_state` reads, besides the application's directory: files and directories in
    #: the checkout; None if that is unknown. A commit that changes none of them changes no desired state.
    reads: Callable[[Source], Collection[Path] | None] = lambda source: ()
    #: Whether, for the application of this file, `load_desired_state` changes files of the checkout, or runs
    #: a program that does. Otherwise it may get a checkout that it shares with other applications, or only
    #: the application's directory if `reads` returns nothing outside of it.
    writes_files: Callable[[ApplicationConfig], bool] = lambda config: False
    versions: Callable[[Desired], Sequence[Version]]
    #: How to sync when nothing else decided: the running state (None before the first deployment) and the
    #: target.
    choose_strategy: Callable[[Desired | None, Desired], Strategy]
    #: Called when a deployment is planned. Raises ConfigError, with the place in the application's file, if
    #: the agent lacks a platform provider that the desired state needs besides the application's own.
    check_providers: Callable[[Desired, FindProviders], None] = lambda desired, find: None
    #: Optional: what the agent cannot do with a platform provider, given its decoded `config`, as sentences.
    #: Called when the agent starts. Raises PipecdError if the platform cannot be asked.
    check_access: Callable[[Any], Awaitable[Sequence[str]]] | None = None
    #: Optional: changes from the running to the target state that the platform refuses for existing
    #: resources, as sentences that end in a remedy. The plan and the plan preview show them. Stages refuse
    #: them if the resources still exist.
    refused_changes: Callable[[Desired, Desired], Sequence[str]] | None = None
    #: Optional: what a pull request would change. Changes nothing outside the checkouts. Raises UserError.
    plan_preview: Callable[[PreviewRequest], Awaitable[Preview]] | None = None
    observes: Observes | None = None
    compares: Compares | None = None
    watch: Watch | None = None
    memory: Memory | None = None
    details: Details | None = None


def deploys_by_script(source: Source, prefix: str) -> bool:
    """Whether no stage of the pipeline is one of the platform's, whose names begin with `prefix`.

    The files that these stages read may then be absent.
    """
    pipeline = source.config.spec.pipeline
    return pipeline is not None and not any(stage.name.startswith(prefix) for stage in pipeline.stages)


def in_thread(load: Callable[[Source], Desired]) -> Callable[[Source], Awaitable[Desired]]:
    """For `Platform.load_desired_state`: a function that only reads files, run outside the event loop."""

    async def load_in_thread(source: Source) -> Desired:
        return await asyncio.to_thread(load, source)

    return load_in_thread
