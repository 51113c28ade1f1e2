"""The pull request APIs of five Git hosts on loopback, with the rules that their documentation states.

One repository, `shop/config`; `pulls` has what was created. `fail` answers the next requests instead.
"""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from pipecd.git.forge.pull_request import ForgeType

TOKEN = "secret-token"
PAGE_SIZE = 2
_BASIC = base64.b64encode(f"ada@example.com:{TOKEN}".encode()).decode()


@dataclass
class Pull:
    number: int
    head: str
    base: str
    title: str
    body: str
    version: int = 0
    reviewers: list[str] = field(default_factory=list)
    fork: bool = False
    open: bool = True


@dataclass
class ForgeServer:
    type: ForgeType
    address: str = ""
    pulls: list[Pull] = field(default_factory=list)
    requests: int = 0
    #: Answers of the next requests.
    fail: list[web.Response] = field(default_factory=list)
    #: Called before a pull request is created.
    before_create: Callable[[], None] = lambda: None

    def add(self, head: str, base: str, **values: Any) -> Pull:
        pull = Pull(len(self.pulls) + 1, head, base, **{"title": "t", "body": "b", **values})
        self.pulls.append(pull)
        return pull

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.fail:
            return self.fail.pop(0)
        if not self._is_authenticated(request):
            return web.json_response({"message": "401 Unauthorized"}, status=401)
        base, _, rest = request.rel_url.raw_path.partition(_PATHS[self.type])
        if base or rest.count("/") > 1 + rest.endswith("/decline"):
            return web.json_response({"message": f"Not Found {request.rel_url.raw_path}"}, status=404)
        number, _, action = rest[1:].partition("/")
        if number and action:
            return self._decline(request, self.pulls[int(number) - 1])
        if number:
            return await self._one(request, self.pulls[int(number) - 1])
        return await (self._create(request) if request.method == "POST" else self._list(request))

    def _is_authenticated(self, request: web.Request) -> bool:
        headers = request.headers
        match self.type:
            case ForgeType.GITLAB:
                return headers.get("PRIVATE-TOKEN") == TOKEN
            case ForgeType.GITEA:
                return headers.get("Authorization") == f"token {TOKEN}"
            case ForgeType.BITBUCKET:
                return headers.get("Authorization") == f"Basic {_BASIC}"
            case ForgeType.GITHUB if not headers.get("User-Agent"):
                return False
        return headers.get("Authorization") == f"Bearer {TOKEN}"

    def _open_pulls(self) -> list[Pull]:
        return [pull for pull in self.pulls if pull.open]

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        match self.type:
            case ForgeType.GITHUB:
                assert query["state"] == "open"
                owner, _, branch = query["head"].partition(":")
                assert owner == "shop"
                found = [
                    pull for pull in self._open_pulls() if (pull.head, pull.base) == (branch, query["base"])
                ]
                return web.json_response([self._show(pull) for pull in found])
            case ForgeType.GITLAB:
                assert query["state"] == "opened"
                branches = (query["source_branch"], query["target_branch"])
                found = [pull for pull in self._open_pulls() if (pull.head, pull.base) == branches]
                return web.json_response([self._show(pull) for pull in found])
            case ForgeType.BITBUCKET:
                found = [
                    pull
                    for pull in self._open_pulls()
                    if query["q"] == f'state = "OPEN" AND source.branch.name = "{pull.head}"'
                    f' AND destination.branch.name = "{pull.base}"'
                ]
                # The list is short of some members.
                shown = [{**self._show(pull), "reviewers": None} for pull in found]
                return web.json_response({"pagelen": 10, "size": len(found), "page": 1, "values": shown})
            case ForgeType.BITBUCKET_SERVER:
                assert (query["state"], query["direction"]) == ("OPEN", "OUTGOING")
                start = int(query["start"])
                found = [pull for pull in self._open_pulls() if f"refs/heads/{pull.head}" == query["at"]]
                page = found[start : start + PAGE_SIZE]
                last = start + PAGE_SIZE >= len(found)
                return web.json_response(
                    {
                        "values": [self._show(pull) for pull in page],
                        "isLastPage": last,
                        "nextPageStart": None if last else start + PAGE_SIZE,
                    }
                )
            case ForgeType.GITEA:
                start = (int(query["page"]) - 1) * PAGE_SIZE
                return web.json_response(
                    [self._show(pull) for pull in self._open_pulls()[start : start + PAGE_SIZE]]
                )

    async def _create(self, request: web.Request) -> web.Response:
        self.before_create()
        body = await request.json()
        match self.type:
            case ForgeType.GITHUB | ForgeType.GITEA:
                head, base, text = body["head"], body["base"], body["body"]
            case ForgeType.GITLAB:
                head, base, text = body["source_branch"], body["target_branch"], body["description"]
            case ForgeType.BITBUCKET:
                head, base = body["source"]["branch"]["name"], body["destination"]["branch"]["name"]
                text = body["description"]
            case ForgeType.BITBUCKET_SERVER:
                head = body["fromRef"]["id"].removeprefix("refs/heads/")
                base, text = body["toRef"]["id"].removeprefix("refs/heads/"), body["description"]
        if any((pull.head, pull.base, pull.fork) == (head, base, False) for pull in self._open_pulls()):
            status, content = _DUPLICATES[self.type]
            return web.json_response(content, status=status)
        assert body["title"] and len(body["title"]) <= 255
        return web.json_response(self._show(self.add(head, base, title=body["title"], body=text)), status=201)

    async def _one(self, request: web.Request, pull: Pull) -> web.Response:
        if request.method == "GET":
            return web.json_response(self._show(pull))
        method = "PATCH" if self.type in (ForgeType.GITHUB, ForgeType.GITEA) else "PUT"
        if request.method != method:
            return web.json_response({"message": "Method Not Allowed"}, status=405)
        body = await request.json()
        if body in ({"state": "closed"}, {"state_event": "close"}):
            assert ("state" in body) == (method == "PATCH"), "GitLab has state_event"
            pull.open = False
            return web.json_response(self._show(pull))
        if self.type is ForgeType.BITBUCKET_SERVER:
            if body["version"] != pull.version:
                error = {"message": "You are attempting to modify a pull request based on out-of-date data."}
                return web.json_response({"errors": [error]}, status=409)
            pull.version += 1
            pull.reviewers = [reviewer["user"]["name"] for reviewer in body.get("reviewers", [])]
        if self.type is ForgeType.BITBUCKET:
            pull.reviewers = [reviewer["uuid"] for reviewer in body.get("reviewers", [])]
        pull.title = body["title"]
        pull.body = body["body"] if "body" in body else body["description"]
        return web.json_response(self._show(pull))

    def _decline(self, request: web.Request, pull: Pull) -> web.Response:
        if self.type not in (ForgeType.BITBUCKET, ForgeType.BITBUCKET_SERVER) or request.method != "POST":
            return web.json_response({"message": "Not Found"}, status=404)
        if self.type is ForgeType.BITBUCKET_SERVER and request.query["version"] != str(pull.version):
            return web.json_response({"errors": [{"message": "out-of-date data"}]}, status=409)
        pull.open = False
        return web.json_response(self._show(pull))

    def _show(self, pull: Pull) -> dict[str, Any]:
        page = f"https://git.example.com/{pull.number}"
        match self.type:
            case ForgeType.GITHUB | ForgeType.GITEA:
                repository = 2 if pull.fork else 1
                return {
                    "number": pull.number,
                    "html_url": page,
                    "title": pull.title,
                    "body": pull.body or None,
                    "head": {"ref": pull.head, "repo_id": repository},
                    "base": {"ref": pull.base, "repo_id": 1},
                }
            case ForgeType.GITLAB:
                text = pull.body or None
                return {
                    "iid": pull.number,
                    "id": 900 + pull.number,
                    "web_url": page,
                    "title": pull.title,
                    "description": text,
                }
            case ForgeType.BITBUCKET:
                reviewers: Any = [{"uuid": name} for name in pull.reviewers]
                links: Any = {"html": {"href": page}}
            case ForgeType.BITBUCKET_SERVER:
                reviewers = [{"user": {"name": name}, "approved": False} for name in pull.reviewers]
                links = {"self": [{"href": page}]}
        return {
            "id": pull.number,
            "version": pull.version,
            "title": pull.title,
            "description": pull.body,
            "reviewers": reviewers,
            "links": links,
            "toRef": {"id": f"refs/heads/{pull.base}"},
        }


_PATHS = {
    ForgeType.GITHUB: "/repos/shop/config/pulls",
    ForgeType.GITLAB: "/projects/shop%2Fconfig/merge_requests",
    ForgeType.BITBUCKET: "/repositories/shop/config/pullrequests",
    ForgeType.BITBUCKET_SERVER: "/projects/shop/repos/config/pull-requests",
    ForgeType.GITEA: "/repos/shop/config/pulls",
}
_DUPLICATES: dict[ForgeType, tuple[int, Any]] = {
    ForgeType.GITHUB: (
        422,
        {
            "message": "Validation Failed",
            "errors": [
                {
                    "resource": "PullRequest",
                    "code": "custom",
                    "message": "A pull request already exists for shop:b.",
                }
            ],
        },
    ),
    ForgeType.GITLAB: (
        409,
        {"message": ["Another open merge request already exists for this source branch: !1"]},
    ),
    ForgeType.BITBUCKET: (
        409,
        {"type": "error", "error": {"message": "There is already a pull request from b."}},
    ),
    ForgeType.BITBUCKET_SERVER: (
        409,
        {
            "errors": [
                {
                    "message": "Only one pull request may be open for a given source and target branch",
                    "exceptionName": "com.atlassian.bitbucket.pull.DuplicatePullRequestException",
                }
            ]
        },
    ),
    ForgeType.GITEA: (409, {"message": "pull request already exists for these targets [id: 1]"}),
}


@asynccontextmanager
async def forge_server(forge_type: ForgeType) -> AsyncIterator[ForgeServer]:
    server = ForgeServer(forge_type)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
