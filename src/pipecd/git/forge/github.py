"""GitHub and GitHub Enterprise Server. Source: https://docs.github.com/rest/pulls/pulls"""

from collections.abc import Mapping
from typing import Any

from pipecd.git.forge.api import Answer, Api, last_parts, number_of, page_url, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest

PERMISSION = '"Pull requests: write" (of a classic token: the scope "repo")'


class GitHub:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        owner = last_parts(path)[0]
        params = {"state": "open", "head": f"{owner}:{proposal.branch}", "base": proposal.base}
        answer = await self._api.call("GET", _pulls(path), permission=PERMISSION, params=params)
        found = [item for item in answer.records() if text_of(item, "head", "ref") == proposal.branch]
        return _pull_request(found[0]) if found else None

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


def _exists(answer: Answer, words: str) -> bool:
    return answer.status == 422 and "pull request already exists" in words


def _pull_request(record: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=number_of(record, "number"),
        url=page_url(text_of(record, "html_url")),
        title=text_of(record, "title"),
        body=text_of(record, "body"),
        record=record,
    )
