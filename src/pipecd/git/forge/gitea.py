"""Gitea and Forgejo. Source: https://docs.gitea.com/api/#tag/repository"""

from collections.abc import Mapping
from typing import Any

from pipecd.errors import Temporary
from pipecd.git.forge.api import Answer, Api, last_parts, number_of, page_url, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest

PERMISSION = '"write:repository"'
#: Pull requests cannot be searched by their branch. Of a page; and pages.
PAGE_SIZE, MAX_PAGES = 50, 40


class Gitea:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        for page in range(1, MAX_PAGES + 1):
            params = {"state": "open", "sort": "recentupdate", "limit": str(PAGE_SIZE), "page": str(page)}
            answer = await self._api.call("GET", _pulls(path), permission=PERMISSION, params=params)
            records = answer.records()
            for record in records:
                branches = (text_of(record, "head", "ref"), text_of(record, "base", "ref"))
                # Of a fork, the branch may have the same name.
                same = _repository_id(record, "head") == _repository_id(record, "base")
                if same and branches == (proposal.branch, proposal.base):
                    return _pull_request(record)
            # The server may limit a page to fewer than requested.
            if not records:
                return None
        raise Temporary(f"there are more than {MAX_PAGES * PAGE_SIZE} open pull requests")

    async def create(self, path: str, proposal: Proposal) -> PullRequest:
        answer = await self._api.call(
            "POST",
            _pulls(path),
            permission=PERMISSION,
            body={
                "title": proposal.title,
                "body": proposal.body,
                "head": proposal.branch,
                "base": proposal.base,
            },
            exists=_exists,
        )
        return _pull_request(answer.record)

    async def update(self, path: str, pull_request: PullRequest, proposal: Proposal) -> None:
        body = {"title": proposal.title, "body": proposal.body}
        url = f"{_pulls(path)}/{pull_request.number}"
        await self._api.call("PATCH", url, permission=PERMISSION, body=body)


def _pulls(path: str) -> str:
    return f"/repos/{'/'.join(last_parts(path))}/pulls"


def _repository_id(record: Mapping[str, Any], side: str) -> Any:
    branch = record.get(side)
    return branch.get("repo_id") if isinstance(branch, Mapping) else None


def _exists(answer: Answer, words: str) -> bool:
    return answer.status == 409 and "already exists" in words


def _pull_request(record: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=number_of(record, "number"),
        url=page_url(text_of(record, "html_url")),
        title=text_of(record, "title"),
        body=text_of(record, "body"),
        record=record,
    )
