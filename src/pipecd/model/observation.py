"""The input of a platform's live state and drift detection."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipecd.model.application import Application
from pipecd.model.drift import IgnoredFields, Redact
from pipecd.model.provider import FindProviders
from pipecd.model.stage import Source


@dataclass(frozen=True, kw_only=True)
class ObservationRequest:
    """Observing must not change anything outside. Git's side is at the head of the branch."""

    application: Application
    #: The platform provider's decoded `config`, or None if the application names no provider.
    provider: Any
    #: Finds other platform providers of the application's kind.
    providers: FindProviders
    #: The result of `Platform.load_desired_state`, cached while no commit changes what it was made of.
    desired: Any
    ignored: IgnoredFields
    #: Removes known secrets from a text.
    redact: Redact
    #: Returns a checkout, which is made at the first call and removed after the observation.
    checkout_head: Callable[[], Awaitable[Source]]
