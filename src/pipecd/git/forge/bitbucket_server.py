"""Bitbucket Data Center and Server. Source: https://developer.atlassian.com/server/bitbucket/rest/"""

from collections.abc import Mapping
from typing import Any

from pipecd.git.forge.api import Answer, Api, last_parts, number_of, page_url, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest

PERMISSION = '"Repository write"'


class BitbucketServer:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        params = {"state": "OPEN", "direction": "OUTGOING", "at": _reference(proposal.branch)}
        start: Any = 0
        while isinstance(start, int):
            page = {**params, "start": str(start)}
            answer = await self._api.call("GET", _pulls(path), permission=PERMISSION, params=page)
            for record in answer.records("values"):
                if text_of(record, "toRef", "id") == _reference(proposal.base):
                    return _pull_request(record)
            last = answer.record.get("isLastPage", True)
            following = None if last else answer.record.get("nextPageStart")
            # A page that does not advance would be read again and again.
            start = following if isinstance(following, int) and following > start else None
        return None

    async def create(self, path: str, proposal: Proposal) -> PullRequest:
        answer = await self._api.call(
            "POST",
            _pulls(path),
            permission=PERMISSION,
            body={
                "title": proposal.title,
                "description": proposal.body,
                "fromRef": {"id": _reference(proposal.branch)},
                "toRef": {"id": _reference(proposal.base)},
            },
            exists=_exists,
        )
        return _pull_request(answer.record)

    async def update(self, path: str, pull_request: PullRequest, proposal: Proposal) -> None:
        # A version that is not the latest is refused; reviewers that are left out are removed.
        reviewers = pull_request.record.get("reviewers")
        names = [
            {"user": {"name": text_of(reviewer, "user", "name")}}
            for reviewer in (reviewers if isinstance(reviewers, list) else ())
        ]
        body = {
            "version": pull_request.record.get("version", 0),
            "title": proposal.title,
            "description": proposal.body,
            "reviewers": names,
        }
        url = f"{_pulls(path)}/{pull_request.number}"
        await self._api.call("PUT", url, permission=PERMISSION, body=body)

    async def close(self, path: str, pull_request: PullRequest) -> None:
        url = f"{_pulls(path)}/{pull_request.number}/decline"
        params = {"version": str(pull_request.record.get("version", 0))}
        await self._api.call("POST", url, permission=PERMISSION, params=params, body={})


def _pulls(path: str) -> str:
    project, repository = last_parts(path)
    return f"/projects/{project}/repos/{repository}/pull-requests"


def _reference(branch: str) -> str:
    return f"refs/heads/{branch}"


def _exists(answer: Answer, words: str) -> bool:
    return answer.status == 409 and "Only one pull request may be open" in words


def _pull_request(record: Mapping[str, Any]) -> PullRequest:
    links = record.get("links")
    pages = links.get("self") if isinstance(links, Mapping) else None
    page = pages[0] if isinstance(pages, list) and pages and isinstance(pages[0], Mapping) else {}
    return PullRequest(
        number=number_of(record, "id"),
        url=page_url(text_of(page, "href")),
        title=text_of(record, "title"),
        body=text_of(record, "description"),
        record=record,
    )
