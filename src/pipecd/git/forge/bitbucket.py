"""Bitbucket Cloud. Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/"""

import json
from collections.abc import Mapping
from typing import Any

from pipecd.git.forge.api import Answer, Api, last_parts, number_of, page_url, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest

PERMISSION = '"pullrequest:write"'


class Bitbucket:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        branches = {"source.branch.name": proposal.branch, "destination.branch.name": proposal.base}
        # Texts of the filter language are quoted as in JSON.
        conditions = [f"{name} = {json.dumps(value)}" for name, value in branches.items()]
        params = {"q": " AND ".join(['state = "OPEN"', *conditions])}
        answer = await self._api.call("GET", _pulls(path), permission=PERMISSION, params=params)
        found = answer.records("values")
        return _pull_request(found[0]) if found else None

    async def create(self, path: str, proposal: Proposal) -> PullRequest:
        answer = await self._api.call(
            "POST",
            _pulls(path),
            permission=PERMISSION,
            body={
                "title": proposal.title,
                "description": proposal.body,
                "source": {"branch": {"name": proposal.branch}},
                "destination": {"branch": {"name": proposal.base}},
                "close_source_branch": True,
            },
            exists=_exists,
        )
        return _pull_request(answer.record)

    async def update(self, path: str, pull_request: PullRequest, proposal: Proposal) -> None:
        # What is left out is removed: the reviewers stay only if they are sent again.
        reviewers = pull_request.record.get("reviewers")
        url = f"{_pulls(path)}/{pull_request.number}"
        if not isinstance(reviewers, list):
            # A list of pull requests leaves them out.
            answer = await self._api.call("GET", url, permission=PERMISSION)
            reviewers = answer.record.get("reviewers")
        body = {
            "title": proposal.title,
            "description": proposal.body,
            "reviewers": [{"uuid": text_of(each, "uuid")} for each in reviewers or ()],
            "close_source_branch": True,
        }
        await self._api.call("PUT", url, permission=PERMISSION, body=body)

    async def close(self, path: str, pull_request: PullRequest) -> None:
        url = f"{_pulls(path)}/{pull_request.number}/decline"
        await self._api.call("POST", url, permission=PERMISSION, body={})


def _pulls(path: str) -> str:
    return f"/repositories/{'/'.join(last_parts(path))}/pullrequests"


def _exists(answer: Answer, words: str) -> bool:
    return answer.status in (400, 409) and "already" in words.lower() and "pull request" in words.lower()


def _pull_request(record: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=number_of(record, "id"),
        url=page_url(text_of(record, "links", "html", "href")),
        title=text_of(record, "title"),
        body=text_of(record, "description"),
        record=record,
    )
