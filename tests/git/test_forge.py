"""Pull requests against servers with the APIs and rules of GitHub, GitLab, Bitbucket and Gitea."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from pipecd.errors import PipecdError, Refused, Temporary
from pipecd.git.forge import Forges
from pipecd.git.forge.api import MAX_SIZE, Answer, rate_limit_delay
from pipecd.git.forge.pull_request import ForgeHost, ForgeType, Proposal
from pipecd.remotes import repository_path
from tests.git.forge_server import TOKEN, ForgeServer, forge_server
from tests.trace_collector import recorded
from tests.virtual_clock import VirtualClock

PROPOSAL = Proposal(
    remote="git@git.example.com:shop/config.git", branch="pipecd/b", base="main", title="Set a", body="text"
)


def forges(server: ForgeServer, clock: VirtualClock | None = None, token: str = TOKEN) -> Forges:
    username = "ada@example.com" if server.type is ForgeType.BITBUCKET else ""
    host = ForgeHost(
        host="git.example.com",
        type=server.type,
        token=lambda: token,
        username=username,
        api_url=server.address,
    )
    return Forges([host], clock or VirtualClock())


@pytest.mark.parametrize("forge_type", ForgeType)
async def test_one_pull_request_is_opened_and_updated(forge_type: ForgeType) -> None:
    async with forge_server(forge_type) as server:
        for base in ("one", "two", "three"):
            server.add("pipecd/b", base)
        if forge_type is ForgeType.GITEA:
            server.add("pipecd/b", "main", fork=True)
        opened = await forges(server).ensure_pull_request(PROPOSAL)
        pull = server.pulls[-1]
        assert (pull.head, pull.base, pull.title, pull.body) == ("pipecd/b", "main", "Set a", "text")
        assert opened.url == f"https://git.example.com/{pull.number}" and opened.number == pull.number
        count, requests = len(server.pulls), server.requests
        assert (await forges(server).ensure_pull_request(PROPOSAL)).number == pull.number
        assert pull.version == 0, "nothing is written if nothing changed"
        assert server.requests - requests <= 3
        pull.reviewers = ["grace"]
        changed = replace(PROPOSAL, title='Set "b"', body="other")
        assert (await forges(server).ensure_pull_request(changed)).number == pull.number
        assert (pull.title, pull.body, pull.reviewers) == ('Set "b"', "other", ["grace"])
        assert len(server.pulls) == count


@pytest.mark.parametrize("forge_type", ForgeType)
async def test_an_open_pull_request_is_closed(forge_type: ForgeType) -> None:
    async with forge_server(forge_type) as server:
        assert await forges(server).close_pull_request(PROPOSAL) is None
        opened = await forges(server).ensure_pull_request(PROPOSAL)
        await forges(server).ensure_pull_request(replace(PROPOSAL, title="Set b"))
        other = server.add("pipecd/other", "main")
        closed = await forges(server).close_pull_request(PROPOSAL)
        assert closed and closed.url == opened.url
        assert [pull.open for pull in server.pulls] == [False, True] and other.open
        assert await forges(server).close_pull_request(PROPOSAL) is None
        reopened = await forges(server).ensure_pull_request(PROPOSAL)
        assert reopened.number == 3, "a new one for a newer event"


@pytest.mark.parametrize("forge_type", ForgeType)
async def test_agents_at_the_same_time_open_one(forge_type: ForgeType) -> None:
    async with forge_server(forge_type) as server:

        def create_first() -> None:
            """Another agent creates it after this one found none."""
            if not server.pulls:
                server.add("pipecd/b", "main")

        server.before_create = create_first
        opened = await forges(server).ensure_pull_request(PROPOSAL)
        assert opened.number == 1 and len(server.pulls) == 1
        assert server.pulls[0].title == "Set a"
        agents = [forges(server).ensure_pull_request(PROPOSAL) for _ in range(5)]
        assert {each.number for each in await asyncio.gather(*agents)} == {1}


def failing(status: int, message: str, **headers: str) -> web.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"message": message}, status=status, headers=names)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (failing(401, "Bad credentials"), Refused, "answered 401: Bad credentials; renew the token"),
        (
            failing(403, "Resource not accessible by personal access token"),
            Refused,
            'not accessible .*; give the token .* the permission "Pull requests: write"',
        ),
        (failing(404, "Not Found"), Refused, 'the permission "Pull requests: write"'),
        (failing(422, "No commits between main and b"), Refused, "No commits between"),
        (failing(301, "Moved Permanently", Location="https://evil.example.com/"), Refused, "was moved"),
        (failing(403, "API rate limit exceeded", X_RateLimit_Remaining="0"), Temporary, "rate limit"),
        (failing(429, "Too Many Requests", Retry_After="7"), Temporary, "Too Many"),
        (failing(502, "Bad Gateway"), Temporary, "Bad Gateway"),
        (web.Response(text="<html>"), Temporary, "none of its API"),
        (web.json_response([{"head": {"ref": "pipecd/b"}}]), Temporary, "without a number"),
        (web.Response(body=b" " * (MAX_SIZE + 1)), Temporary, "more than 4 MiB"),
    ],
)
async def test_errors_say_what_is_missing(answer: web.Response, error: type[PipecdError], words: str) -> None:
    async with forge_server(ForgeType.GITHUB) as server:
        server.fail = [answer]
        with pytest.raises(error, match=words) as raised:
            await forges(server).ensure_pull_request(PROPOSAL)
        assert not server.pulls and server.requests == 1
        assert TOKEN not in str(raised.value)


async def test_a_host_that_limits_the_rate_is_left_alone() -> None:
    clock = VirtualClock()
    async with forge_server(ForgeType.GITLAB) as server:
        agent = forges(server, clock)
        server.fail = [failing(429, "Retry later", Retry_After="30")]
        with pytest.raises(Temporary, match="Retry later"):
            await agent.ensure_pull_request(PROPOSAL)
        with pytest.raises(Temporary, match=r"git\.example\.com refuses requests for another 30 s"):
            await agent.ensure_pull_request(PROPOSAL)
        assert server.requests == 1
        await clock.advance(31)
        assert (await agent.ensure_pull_request(PROPOSAL)).number == 1


@pytest.mark.parametrize(
    ("status", "words", "headers", "delay"),
    [
        (403, "Forbidden", {}, None),
        (403, "You have exceeded a secondary rate limit", {}, 60.0),
        (403, "", {"Retry-After": "5"}, 5.0),
        (
            403,
            "",
            {
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "1000000090",
                "Date": "Sun, 09 Sep 2001 01:46:40 GMT",
            },
            90.0,
        ),
        (429, "", {"RateLimit-Remaining": "0", "RateLimit-Reset": "9" * 11, "Date": "x"}, 60.0),
        (429, "", {"Retry-After": "9" * 11}, 3600.0),
        (500, "rate limit", {}, None),
    ],
)
def test_delays_that_hosts_request(
    status: int, words: str, headers: dict[str, str], delay: float | None
) -> None:
    assert rate_limit_delay(Answer(status, None, headers), words) == delay


@pytest.mark.parametrize(
    ("remote", "path"),
    [
        ("git@github.com:Shop/Config.git", "Shop/Config"),
        ("https://gitlab.com/scm/deep/config", "scm/deep/config"),
        ("ssh://git@git.example.com:7999/~ada/config.git", "~ada/config"),
    ],
)
def test_the_path_of_a_repository_is_as_written(remote: str, path: str) -> None:
    assert repository_path(remote) == path


async def test_requests_are_spans_with_their_status() -> None:
    async with forge_server(ForgeType.GITHUB) as server, recorded() as spans:
        await forges(server).ensure_pull_request(PROPOSAL)
        server.fail = [web.json_response({"message": "no"}, status=500)]
        with pytest.raises(Temporary):
            await forges(server).ensure_pull_request(PROPOSAL)
    calls = [span for span in spans if span.name.startswith("git host")]
    assert [(span.name, span.attributes["http.response.status_code"]) for span in calls] == [
        ("git host GET", "200"),
        ("git host POST", "201"),
        ("git host GET", "500"),
    ]
    assert [span.failure for span in calls] == ["", "", "500"]
    assert {span.attributes["server.address"] for span in calls} == {"git.example.com"}
    assert TOKEN not in str(spans)
