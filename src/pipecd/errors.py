"""The one vocabulary of what goes wrong, for every program here.

    PipecdError
    ├── UserError            somebody can mend it: carries the place (file, line, key) and a remedy
    │   ├── ConfigError      a configuration file or flag is wrong
    │   └── Refused          a rule says no to what was asked
    ├── NotFound             the thing asked for does not exist
    ├── AlreadyExists        the thing to be made exists
    ├── Conflict             the record changed since it was read, or the move is no longer legal
    ├── Unauthenticated      the credential is missing, wrong, disabled or expired
    ├── PermissionDenied     the credential does not allow this
    ├── Unsupported          the other side does not know the call (an older version)
    └── Temporary            it will pass: retry with `pipecd.retry`, under a bound

Everything else that is raised is a fault of ours and is loud. Messages never hold a secret.
Exceptions end in two places: `piped.perform` makes a stage's outcome of them, the RPC edge a status.
"""

from dataclasses import dataclass


class PipecdError(Exception):
    """Root of everything raised on purpose."""


@dataclass(frozen=True)
class Place:
    """Where in a file something stands. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        spot = f"{self.file}:{self.line}" if self.line else self.file
        return f"{spot}: {self.key}" if self.key else spot


class UserError(PipecdError):
    """Somebody can mend this: `str(error)` is `place: what is wrong; remedy`, fit to show as it is."""

    def __init__(self, what: str, *, remedy: str = "", place: Place | None = None) -> None:
        self.what, self.remedy, self.place = what, remedy, place
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.place}: {self.what}" if self.place else self.what
        return f"{text}; {self.remedy}" if self.remedy else text


class ConfigError(UserError):
    """A configuration file or flag is wrong."""


class Refused(UserError):
    """A rule says no: the request is understood and cannot be carried out as things are."""


class NotFound(PipecdError):
    """The thing asked for does not exist."""


class AlreadyExists(PipecdError):
    """The thing to be made exists already."""


class Conflict(PipecdError):
    """The record changed since it was read, or it has left the state this move starts from."""


class Unauthenticated(PipecdError):
    """The credential is missing, wrong, disabled or expired."""


class PermissionDenied(PipecdError):
    """The credential is good and does not allow this."""


class Unsupported(PipecdError):
    """The other side does not know this call: it is older than we are."""


class Temporary(PipecdError):
    """It will pass: an outage, a time-out, throttling. `after` is the other side's wish, in seconds."""

    def __init__(self, what: str, *, after: float | None = None) -> None:
        self.after = after
        super().__init__(what)
