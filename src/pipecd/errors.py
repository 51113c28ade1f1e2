"""The exception hierarchy shared by all programs.

    PipecdError
    ├── UserError            the user can fix it: carries the place (file, line, key) and a remedy
    │   ├── ConfigError      a configuration file or flag is wrong
    │   └── Refused          a rule forbids the requested operation
    ├── NotFound             the requested object does not exist
    ├── AlreadyExists        the object to create already exists
    ├── Conflict             the record changed since it was read, or the transition is no longer allowed
    ├── Unauthenticated      the credential is missing, wrong, disabled or expired
    ├── PermissionDenied     the credential does not allow this
    ├── Unsupported          the other side does not know the call (an older version)
    └── Temporary            transient: retry with `pipecd.retry`, a limited number of times

Any other exception is a bug and is not caught. Messages never contain a secret.
Exceptions are handled in two places: `piped.deploy.perform` converts them to a stage's outcome, the RPC
server to a status.
"""

from dataclasses import dataclass


class PipecdError(Exception):
    """Base class of all errors that PipeCD raises deliberately."""

    #: Path of the field of the request that is wrong, such as `receiver.webhook.url`; empty if it is not one.
    field = ""


@dataclass(frozen=True)
class Place:
    """A location in a file. `line` counts from 1; 0 means the whole file.

    Without a file, it is a key of the program's own configuration, to which `config.document.locating_errors`
    adds file and line, or a flag.
    """

    file: str = ""
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        location = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (location, self.key)))


class UserError(PipecdError):
    """An error the user can fix. `str(error)` is `place: what is wrong; remedy`, ready to display."""

    def __init__(self, what: str, *, remedy: str = "", place: Place | None = None, field: str = "") -> None:
        self.what, self.remedy, self.place, self.field = what, remedy, place, field
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.place}: {self.what}" if self.place else self.what
        return f"{text}; {self.remedy}" if self.remedy else text


class ConfigError(UserError):
    """A configuration file or flag is wrong."""


class Refused(UserError):
    """The request is valid, but a rule forbids it in the current state."""


class NotFound(PipecdError):
    """The requested object does not exist."""

    def __init__(self, what: str, *, field: str = "") -> None:
        self.field = field
        super().__init__(what)


class AlreadyExists(PipecdError):
    """The object to create already exists."""

    def __init__(self, what: str, *, field: str = "") -> None:
        self.field = field
        super().__init__(what)


class Conflict(PipecdError):
    """The record changed since it was read, or it is no longer in the state the transition starts from."""


class Unauthenticated(PipecdError):
    """The credential is missing, wrong, disabled or expired."""


class PermissionDenied(PipecdError):
    """The credential is valid but does not allow this."""


class Unsupported(PipecdError):
    """The other side does not know this call: it runs an older version."""


class Temporary(PipecdError):
    """A transient error: an outage, a timeout, throttling.

    `after` is the retry delay the other side requested, in seconds.
    """

    def __init__(self, what: str, *, after: float | None = None) -> None:
        self.after = after
        super().__init__(what)
