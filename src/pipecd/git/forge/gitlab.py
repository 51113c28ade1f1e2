"""GitLab, where they are merge requests. Source: https://docs.gitlab.com/api/merge_requests/"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pipecd.git.forge.api import Answer, Api, number_of, page_url, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest

PERMISSION = 'of the scope "api" and the role Developer'


class GitLab:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        params = {
            "state": "opened",
            "source_branch": proposal.branch,
            "target_branch": proposal.base,
        }
        answer = await self._api.call("GET", _merge_requests(path), permission=PERMISSION, params=params)
        found = answer.records()
        return _pull_request(found[0]) if found else None

    async def create(self, path: str, proposal: Proposal) -> PullRequest:
        answer = await self._api.call(
            "POST",
            _merge_requests(path),
            permission=PERMISSION,
            body={
                "title": proposal.title,
                "description": proposal.body,
                "source_branch": proposal.branch,
                "target_branch": proposal.base,
                "remove_source_branch": True,
            },
            exists=_exists,
        )
        return _pull_request(answer.record)

    async def update(self, path: str, pull_request: PullRequest, proposal: Proposal) -> None:
        body = {"title": proposal.title, "description": proposal.body}
        url = f"{_merge_requests(path)}/{pull_request.number}"
        await self._api.call("PUT", url, permission=PERMISSION, body=body)

    async def close(self, path: str, pull_request: PullRequest) -> None:
        url = f"{_merge_requests(path)}/{pull_request.number}"
        await self._api.call("PUT", url, permission=PERMISSION, body={"state_event": "close"})


def _merge_requests(path: str) -> str:
    # A project is named by its whole path, of all groups, as one part of the address.
    return f"/projects/{quote(path, safe='')}/merge_requests"


def _exists(answer: Answer, words: str) -> bool:
    return answer.status == 409 and "already exists" in words


def _pull_request(record: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=number_of(record, "iid"),
        url=page_url(text_of(record, "web_url")),
        title=text_of(record, "title"),
        body=text_of(record, "description"),
        record=record,
    )
