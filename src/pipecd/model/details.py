"""Details of one resource, and the log of a container, that a user requested. For platforms and `piped`.

Texts contain no secrets: platforms mask what their objects contain, and `piped` redacts every text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipecd.model.observation import ObservationRequest


@dataclass(frozen=True, kw_only=True)
class DetailsRequest:
    """`resource_id` is what a user sent: it may be that of no resource, or of another application's."""

    observation: ObservationRequest
    resource_id: str


@dataclass(frozen=True, kw_only=True)
class LogRequest(DetailsRequest):
    #: Empty for the first container.
    container: str = ""
    #: How many of the last lines come first.
    tail_lines: int = 500
    #: `LogLine.time` of the last line that the reader has; empty for none. It may be no time at all.
    since: str = ""
    #: The log of the container's run before the current one.
    previous: bool = False


@dataclass(frozen=True, kw_only=True)
class ResourceEvent:
    """What the platform reported about a resource. Times are epoch seconds, 0 if unknown."""

    reason: str
    message: str
    warning: bool = False
    source: str = ""
    count: int = 1
    first_at: int = 0
    last_at: int = 0


@dataclass(frozen=True, kw_only=True)
class Container:
    """One that has a log. `state` is readable, such as `waiting: CrashLoopBackOff`."""

    name: str
    state: str = ""
    init: bool = False
    restarts: int = 0


@dataclass(frozen=True, kw_only=True)
class ResourceDetails:
    """Manifests are YAML. Empty: the resource does not exist, or the files do not declare it."""

    live: str = ""
    git: str = ""
    #: What a sync would change, as the lines of a diff.
    difference: str = ""
    #: The newest first.
    events: Sequence[ResourceEvent] = ()
    containers: Sequence[Container] = ()
    #: Sentences on what is missing, and why.
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """`time` is RFC 3339; empty if it is unknown."""

    text: str
    time: str = ""
