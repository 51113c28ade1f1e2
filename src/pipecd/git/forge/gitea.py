"""Gitea and Forgejo. Source: https://docs.gitea.com/api/#tag/repository"""

from collections.abc import Mapping
from typing import Any

from pipecd.errors import Temporary
from pipecd.git.forge.api import Answer, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest
from pipecd.git.forge.pulls import Pulls, pull_request

#: Pull requests cannot be searched by their branch. Of a page; and pages.
PAGE_SIZE, MAX_PAGES = 50, 40


class Gitea(Pulls):
    permission = '"write:repository"'

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        for page in range(1, MAX_PAGES + 1):
            params = {"state": "open", "sort": "recentupdate", "limit": str(PAGE_SIZE), "page": str(page)}
            records = await self.list(path, params)
            for record in records:
                branches = (text_of(record, "head", "ref"), text_of(record, "base", "ref"))
                # Of a fork, the branch may have the same name.
                same = _repository_id(record, "head") == _repository_id(record, "base")
                if same and branches == (proposal.branch, proposal.base):
                    return pull_request(record)
            # The server may limit a page to fewer than requested.
            if not records:
                return None
        raise Temporary(f"there are more than {MAX_PAGES * PAGE_SIZE} open pull requests")

    @staticmethod
    def exists(answer: Answer, words: str) -> bool:
        return answer.status == 409 and "already exists" in words


def _repository_id(record: Mapping[str, Any], side: str) -> Any:
    branch = record.get(side)
    return branch.get("repo_id") if isinstance(branch, Mapping) else None
