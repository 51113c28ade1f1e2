"""What the agent may download for an application, besides its own repository: Helm charts, mostly."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class ChartRepository:
    """A Helm repository over HTTP, as in the agent's file. Applications refer to it by its name."""

    name: str
    address: str
    username: str = ""
    password: str = field(default="", repr=False)
    #: Whether the server's certificate is not verified.
    insecure: bool = False


@dataclass(frozen=True, kw_only=True)
class ChartRegistry:
    """Credentials for an OCI registry, whose address is a host name, or a host name and a path."""

    address: str
    username: str = ""
    password: str = field(default="", repr=False)


class OpenRepository(Protocol):
    """Opens another Git repository at a branch, tag or commit, of which the directory `path` is needed.

    The checkout may be changed, and is removed when the block ends.
    """

    def __call__(self, remote: str, ref: str, path: str = "") -> AbstractAsyncContextManager[Path]: ...


@dataclass(frozen=True, kw_only=True)
class Downloads:
    chart_repositories: Sequence[ChartRepository] = ()
    chart_registries: Sequence[ChartRegistry] = ()
    #: The HTTP servers of the agent's repositories, as `https://host:port`. They may be on its own machine.
    origins: Collection[str] = ()
    #: A directory for what later renderings use again. None: nothing is kept.
    cache: Path | None = None
    #: None: charts of other Git repositories cannot be read.
    open_repository: OpenRepository | None = None
