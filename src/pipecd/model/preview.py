"""Plan preview of a pull request for one application: the platform's input and result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipecd.model.application import Application
from pipecd.model.provider import FindProviders
from pipecd.model.stage import Source


@dataclass(frozen=True, kw_only=True)
class Preview:
    """`summary` is one line, `details` a readable text (a plan, or a unified diff).

    `error` says why a deployment of the changes would fail; empty if that is not known.
    """

    summary: str
    details: str = ""
    no_change: bool = False
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """The files after the merge, and the deployed files. A preview must not change anything outside."""

    application: Application
    #: The platform provider's decoded `config`, or None if the application names no provider.
    provider: Any
    #: Finds other platform providers of the application's kind.
    providers: FindProviders
    head: Source
    #: Returns the checkout at the running commit, None before the first deployment. Raises UserError or
    #: NotFound if it cannot be read.
    running: Callable[[], Awaitable[Source | None]]
