"""The values of pull requests, and what differs between Git hosts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

#: In characters; every host takes as many.
MAX_TITLE_LENGTH, MAX_BODY_LENGTH = 250, 30_000


class ForgeType(Enum):
    GITHUB = "GITHUB"
    GITLAB = "GITLAB"
    BITBUCKET = "BITBUCKET"
    BITBUCKET_SERVER = "BITBUCKET_SERVER"
    GITEA = "GITEA"


@dataclass(frozen=True, kw_only=True, repr=False)
class ForgeHost:
    """A Git host and how to authenticate there. `token` reads it each time: it may be rotated."""

    #: As in the remotes of repositories, in lower case.
    host: str
    type: ForgeType
    token: Callable[[], str]
    #: Only for an API token of Bitbucket, which belongs to a user.
    username: str = ""
    #: Empty: the usual address on `host`.
    api_url: str = ""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a pull request is to be: `branch` into `base`."""

    remote: str
    branch: str
    base: str
    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """`url` is its page; `record` is what the host sent."""

    number: int
    url: str
    title: str
    body: str
    record: Mapping[str, Any]


class Forge(Protocol):
    """`path` is the path of the repository on the host."""

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        """The open pull request of the branch."""

    async def create(self, path: str, proposal: Proposal) -> PullRequest:
        """Raises AlreadyExists if one is open."""

    async def update(self, path: str, pull_request: PullRequest, proposal: Proposal) -> None:
        """Set title and body."""

    async def close(self, path: str, pull_request: PullRequest) -> None:
        """Close it without merging it."""
