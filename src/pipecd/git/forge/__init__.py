"""Opens pull requests on the Git host of a repository. Called by the event watcher.

One module per kind of host; each finds, creates, updates and closes the pull request of a branch. At most
one is open for a branch, whichever process is killed, and however many agents work on it: the host refuses a
second one.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from pipecd.clock import Clock
from pipecd.errors import AlreadyExists, NotFound, Temporary
from pipecd.git.forge.api import Api, open_api
from pipecd.git.forge.bitbucket import Bitbucket
from pipecd.git.forge.bitbucket_server import BitbucketServer
from pipecd.git.forge.gitea import Gitea
from pipecd.git.forge.github import GitHub
from pipecd.git.forge.gitlab import GitLab
from pipecd.git.forge.pull_request import Forge, ForgeHost, ForgeType, Proposal, PullRequest
from pipecd.remotes import host_name, http_origin, repository_path

_FORGES: Mapping[ForgeType, Callable[[Api], Forge]] = {
    ForgeType.GITHUB: GitHub,
    ForgeType.GITLAB: GitLab,
    ForgeType.BITBUCKET: Bitbucket,
    ForgeType.BITBUCKET_SERVER: BitbucketServer,
    ForgeType.GITEA: Gitea,
}


class Forges:
    """The Git hosts of the agent's configuration."""

    def __init__(self, hosts: Sequence[ForgeHost], clock: Clock) -> None:
        self._hosts = {host.host: host for host in hosts}
        self._clock = clock
        #: Host → when requests are allowed again after a refusal because of the rate.
        self._allowed_at: dict[str, float] = {}

    def has(self, remote: str) -> bool:
        """Whether pull requests can be opened for this repository."""
        return host_name(remote) in self._hosts

    async def ensure_pull_request(self, proposal: Proposal) -> PullRequest:
        """The open pull request of the branch, with the title and the body of `proposal`.

        Raises Refused if a person must act, and Temporary, also while the host refuses requests because of
        their rate.
        """
        async with self._open(proposal.remote) as forge:
            return await _ensure(forge, proposal)

    async def close_pull_request(self, proposal: Proposal) -> PullRequest | None:
        """Closes the open pull request of the branch, if there is one. Errors as `ensure_pull_request`."""
        path = repository_path(proposal.remote)
        async with self._open(proposal.remote) as forge:
            pull_request = await forge.find(path, proposal)
            if pull_request is not None:
                await forge.close(path, pull_request)
            return pull_request

    @asynccontextmanager
    async def _open(self, remote: str) -> AsyncIterator[Forge]:
        host = self._hosts.get(host_name(remote))
        if host is None:
            raise NotFound(f"spec.gitHosts has no entry for {host_name(remote)}")
        if (delay := self._allowed_at.get(host.host, 0.0) - self._clock.monotonic()) > 0:
            raise Temporary(f"{host.host} refuses requests for another {delay:.0f} s", after=delay)
        try:
            async with open_api(host.host, *_connection(host, remote)) as api:
                yield _FORGES[host.type](api)
        except Temporary as error:
            if error.after:
                self._allowed_at[host.host] = self._clock.monotonic() + error.after
            raise


async def _ensure(forge: Forge, proposal: Proposal) -> PullRequest:
    path = repository_path(proposal.remote)
    pull_request = await forge.find(path, proposal)
    if pull_request is None:
        try:
            return await forge.create(path, proposal)
        except AlreadyExists as error:
            # Another agent was faster.
            pull_request = await forge.find(path, proposal)
            if pull_request is None:
                raise Temporary(f"{error}, but the host does not list it") from error
    if (pull_request.title, pull_request.body.strip()) != (proposal.title, proposal.body.strip()):
        await forge.update(path, pull_request, proposal)
    return pull_request


def _connection(host: ForgeHost, remote: str) -> tuple[str, Mapping[str, str], tuple[str, str] | None]:
    """Address of the API, headers, and basic authentication."""
    origin, token = http_origin(remote), host.token()
    bearer = {"Authorization": f"Bearer {token}"}
    match host.type:
        case ForgeType.GITHUB:
            default = "https://api.github.com" if host.host == "github.com" else f"{origin}/api/v3"
            headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
            return host.api_url or default, {**bearer, **headers}, None
        case ForgeType.GITLAB:
            return host.api_url or f"{origin}/api/v4", {"PRIVATE-TOKEN": token}, None
        case ForgeType.BITBUCKET:
            address = host.api_url or "https://api.bitbucket.org/2.0"
            return (address, {}, (host.username, token)) if host.username else (address, bearer, None)
        case ForgeType.BITBUCKET_SERVER:
            return host.api_url or f"{origin}/rest/api/1.0", bearer, None
        case ForgeType.GITEA:
            return host.api_url or f"{origin}/api/v1", {"Authorization": f"token {token}"}, None
