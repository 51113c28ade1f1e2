"""Closes pull requests of the event watcher that would change nothing any more. Called by `watcher`.

Their values came into the branch by another way, such as a commit of a person. The Git host decides
whether a pull request is open; nothing is remembered when the process ends.
"""

from collections.abc import Iterable

import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.errors import NotFound, PipecdError, Refused, UserError
from pipecd.git.forge import Forges
from pipecd.git.forge.pull_request import Proposal, PullRequest
from pipecd.git.mirror import Mirrors, MissingBranch
from pipecd.piped.events.commits import PULL_REQUEST_BRANCHES, pull_request_branch
from pipecd.piped.events.watches import Watch
from pipecd.piped.source.heads import Head

log = structlog.get_logger()

#: Branches without a pull request that were closed or merged, by repository.
MAX_REMEMBERED = 10_000


class ObsoletePullRequests:
    def __init__(self, mirrors: Mirrors, forges: Forges) -> None:
        self._mirrors, self._forges = mirrors, forges
        #: By repository: the head that was checked.
        self._checked: dict[str, str] = {}
        #: Branches at commits whose pull request is closed.
        self._closed = BoundedDict[tuple[str, str, str], None](MAX_REMEMBERED)

    async def close(self, head: Head, watches: Iterable[Watch]) -> None:
        """Once for each head. An error is logged; what a repetition may change is tried again."""
        repository = head.repository
        bases = {
            pull_request_branch(watch): watch.branch or repository.branch
            for watch in watches
            if watch.make_pull_request
        }
        if not bases or not self._forges.has(repository.remote):
            return
        if self._checked.get(repository.id) == head.commit.hash:
            return
        try:
            proposed = await self._mirrors.branches(repository.remote, f"{PULL_REQUEST_BRANCHES}*")
            for branch in bases.keys() & proposed.keys():
                await self._close_if_obsolete(head, bases[branch], branch, proposed[branch])
        except PipecdError as error:
            log.warning("obsolete_pull_requests_kept", repository=repository.id, error=str(error))
            if not isinstance(error, UserError):
                return
        self._checked[repository.id] = head.commit.hash

    async def close_branch(self, head: Head, base: str, branch: str) -> PullRequest | None:
        """Closes the open pull request of the branch, if there is one."""
        remote = head.repository.remote
        if not self._forges.has(remote):
            return None
        proposal = Proposal(remote=remote, branch=branch, base=base, title="", body="")
        closed = await self._forges.close_pull_request(proposal)
        if closed:
            log.info("pull_request_closed", repository=head.repository.id, branch=branch, url=closed.url)
        return closed

    async def _close_if_obsolete(self, head: Head, base: str, branch: str, commit: str) -> None:
        key = (head.repository.id, branch, commit)
        if key not in self._closed and await self._changes_nothing(head, base, commit):
            await self.close_branch(head, base, branch)
            self._closed[key] = None

    async def _changes_nothing(self, head: Head, base: str, commit: str) -> bool:
        """Whether merging `commit` into `base` would change no file."""
        remote, target = head.repository.remote, head.commit.hash
        try:
            if base != head.repository.branch:
                target = await self._mirrors.head(remote, base)
                await self._mirrors.ensure_commit(remote, target)
            await self._mirrors.ensure_commit(remote, commit)
            merged = await self._mirrors.merge(remote, target, commit)
        except (Refused, NotFound, MissingBranch):
            # They conflict, or one of them is gone meanwhile.
            return False
        return not await self._mirrors.changed_files(remote, target, merged)
