"""How a platform is asked what runs of an application, and whether it is what Git asks for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipecd.model.application import Application
from pipecd.model.drift import Clean, Ignored
from pipecd.model.stage import Source


@dataclass(frozen=True, kw_only=True)
class Look:
    """Nothing outside may be changed by looking. All of Git's side is at the head of the branch."""

    application: Application
    #: The platform provider's decoded `config`, or None where the application names none.
    provider: Any
    #: What `Platform.desired` said of that commit. Cheap: it is kept as long as the head stays.
    desired: Any
    ignored: Ignored
    #: Takes known secrets out of a text.
    clean: Clean
    #: A checkout, made at the first call and removed when the look is over.
    head: Callable[[], Awaitable[Source]]
