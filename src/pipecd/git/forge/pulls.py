"""The calls for pull requests that GitHub has, and that Gitea has taken over from it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pipecd.git.forge.api import Answer, Api, last_parts, number_of, page_url, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest


class Pulls(ABC):
    """The hosts differ in how a pull request is found, and in the refusal of a second one."""

    permission: ClassVar[str]

    def __init__(self, api: Api) -> None:
        self._api = api

    @abstractmethod
    async def find(self, path: str, proposal: Proposal) -> PullRequest | None: ...

    @staticmethod
    @abstractmethod
    def exists(answer: Answer, words: str) -> bool:
        """Whether the host refused a pull request because there is one."""

    async def list(self, path: str, params: Mapping[str, str]) -> list[Mapping[str, Any]]:
        answer = await self._api.call("GET", _url(path), permission=self.permission, params=params)
        return list(answer.records())

    async def create(self, path: str, proposal: Proposal) -> PullRequest:
        body = {
            "title": proposal.title,
            "body": proposal.body,
            "head": proposal.branch,
            "base": proposal.base,
        }
        answer = await self._api.call(
            "POST", _url(path), permission=self.permission, body=body, exists=self.exists
        )
        return pull_request(answer.record)

    async def update(self, path: str, pull_request: PullRequest, proposal: Proposal) -> None:
        body = {"title": proposal.title, "body": proposal.body}
        url = f"{_url(path)}/{pull_request.number}"
        await self._api.call("PATCH", url, permission=self.permission, body=body)

    async def close(self, path: str, pull_request: PullRequest) -> None:
        url = f"{_url(path)}/{pull_request.number}"
        await self._api.call("PATCH", url, permission=self.permission, body={"state": "closed"})


def _url(path: str) -> str:
    return f"/repos/{'/'.join(last_parts(path))}/pulls"


def pull_request(record: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=number_of(record, "number"),
        url=page_url(text_of(record, "html_url")),
        title=text_of(record, "title"),
        body=text_of(record, "body"),
        record=record,
    )
