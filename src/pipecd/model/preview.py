"""What a pull request would change in one application: the question a platform is asked, and its answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipecd.model.application import Application
from pipecd.model.stage import Source


@dataclass(frozen=True, kw_only=True)
class Preview:
    """`summary` is one line, `details` a text for people (a plan, or a unified diff)."""

    summary: str
    details: str = ""
    no_change: bool = False


@dataclass(frozen=True, kw_only=True)
class PreviewWork:
    """The files as they would be after the merge, and those that run. Nothing outside may be changed."""

    application: Application
    #: The platform provider's decoded `config`, or None where the application names none.
    provider: Any
    head: Source
    #: The checkout at the running commit, None when nothing was deployed yet. Raises UserError or NotFound
    #: when it cannot be read.
    running: Callable[[], Awaitable[Source | None]]
