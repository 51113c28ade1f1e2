"""The event watcher against real Git, with the control plane's events in memory."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.piped import EventWatcher as Spec
from pipecd.errors import PipecdError, Refused, Temporary
from pipecd.git.credentials import Credentials, User
from pipecd.git.forge import Forges
from pipecd.git.forge.pull_request import Proposal, PullRequest
from pipecd.git.mirror import Entry, Mirrors
from pipecd.model.application import Application, GitPath
from pipecd.model.event import Event, EventOutcome, EventResult
from pipecd.piped.events.commits import MAX_MESSAGE_LENGTH, commit_message, pull_request_texts
from pipecd.piped.events.records import WatchResult
from pipecd.piped.events.watcher import EventWatcher
from pipecd.piped.events.watches import Watch
from pipecd.piped.settings import EventSettings
from pipecd.piped.source.heads import Heads
from pipecd.piped.source.repository import Repository
from pipecd.quickstart.git_server import GitServer
from pipecd.retry import Retry
from tests.model.samples import application
from tests.repo import Clone, local_clone
from tests.trace_collector import recorded

SETTINGS = EventSettings(conflict_retry=Retry(base=0.01, cap=0.02, tries=100))


@dataclass
class Records:
    """Events of the control plane. `failures` is the number of reports that fail.

    In most tests an event has one watch, whose result is the event's.
    """

    events: list[Event] = field(default_factory=list)
    results: dict[str, EventResult] = field(default_factory=dict)
    failures: int = 0
    has_results: bool = True
    #: By repository, event and watch.
    by_watch: dict[tuple[str, str, str], WatchResult] = field(default_factory=dict)
    watches: dict[str, Sequence[Watch]] = field(default_factory=dict)

    async def report_watches(self, repo_id: str, watches: Sequence[Watch]) -> None:
        self.watches[repo_id] = watches

    async def report_results(self, results: Sequence[WatchResult]) -> None:
        await self.report([(each.event_id, each.result) for each in results])
        self.by_watch |= {(each.repo_id, each.event_id, each.watch_id): each for each in results}

    async def list_pending(self, max_age: float) -> Sequence[Event]:
        return [event for event in self.events if event.id not in self.results]

    async def report(self, results: Sequence[tuple[str, EventResult]]) -> None:
        if self.failures:
            self.failures -= 1
            raise Temporary("the control plane is away")
        for event_id, result in results:
            self.results.setdefault(event_id, result)

    def register(self, name: str, data: str) -> str:
        now = int(SYSTEM_CLOCK.now())
        self.events.append(Event(id=f"{len(self.events):04}", name=name, data=data, created_at=now))
        return self.events[-1].id


def watches(**files: str) -> str:
    events = [
        {"name": name, "replacements": [{"file": file, "yamlField": f"$.{name}"}]}
        for name, file in files.items()
    ]
    return yaml.safe_dump(
        {"apiVersion": "pipecd.dev/v1beta1", "kind": "EventWatcher", "spec": {"events": events}}
    )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    clone = local_clone(tmp_path)
    files: dict[str, str | None] = {
        ".pipe/events.yaml": watches(a="values.yaml", b="values.yaml", c="missing.yaml"),
        "values.yaml": "a: 0\nb: 0\n",
    }
    clone.commit_and_push("Begin", files)
    return clone


@pytest.fixture
def served_clone(tmp_path: Path, clone: Clone) -> Iterator[Clone]:
    """Its remote is not a path: what updates it is no child of an agent, and not killed with it."""
    with GitServer(tmp_path / "git") as server:
        clone.remote = server.url("shop")
        yield clone


@dataclass
class MemoryForges(Forges):
    """The pull requests by branch. The next calls raise `errors`."""

    pull_requests: dict[str, Proposal] = field(default_factory=dict)
    errors: list[PipecdError] = field(default_factory=list)
    #: Branches whose pull request was to be closed.
    closing: list[str] = field(default_factory=list)

    def has(self, remote: str) -> bool:
        return True

    async def ensure_pull_request(self, proposal: Proposal) -> PullRequest:
        if self.errors:
            raise self.errors.pop(0)
        self.pull_requests[proposal.branch] = proposal
        url = f"https://git.example.com/{len(self.pull_requests)}"
        return PullRequest(number=len(self.pull_requests), url=url, title="", body="", record={})

    async def close_pull_request(self, proposal: Proposal) -> PullRequest | None:
        self.closing.append(proposal.branch)
        if self.pull_requests.pop(proposal.branch, None) is None:
            return None
        return PullRequest(number=1, url="https://git.example.com/1", title="", body="", record={})


NO_FORGES = Forges([], SYSTEM_CLOCK)


def watcher(
    records: Any, mirrors: Mirrors, clone: Clone, forges: Forges = NO_FORGES, **applications: Application
) -> EventWatcher:
    """An agent's event watcher; a new one is an agent that was restarted."""

    async def loaded() -> None: ...

    view: Any = SimpleNamespace(applications=applications, wait_until_loaded=loaded)
    leadership: Any = SimpleNamespace(lease=SimpleNamespace(may_begin=True))
    repository = Repository(id="shop", remote=clone.remote, branch="main")
    heads = Heads(mirrors, {"shop": repository})
    return EventWatcher(
        records, mirrors, heads, view, leadership, SYSTEM_CLOCK, Spec(), lambda remote: None, SETTINGS, forges
    )


async def check(event_watcher: EventWatcher) -> None:
    await event_watcher._check("shop")


async def test_an_event_is_not_written_again_after_a_kill(mirrors: Mirrors, clone: Clone) -> None:
    """Killed between the push and the report: the next process finds the event in the branch."""
    records = Records(failures=1)
    event_id = records.register("a", "1")
    with pytest.raises(Temporary):
        await check(watcher(records, mirrors, clone))
    commit = await mirrors.head(clone.remote, "main")
    # Meanwhile a person sets it back, which must hold.
    clone.git("pull", "--quiet", "origin", "main")
    clone.commit_and_push("Back", {"values.yaml": "a: 0\nb: 0\n"})
    await check(watcher(records, mirrors, clone))
    assert records.results[event_id].outcome is EventOutcome.SUCCESS
    assert records.results[event_id].message == "The event is in the branch already"
    assert clone.git("rev-parse", "HEAD~1") == commit
    assert await mirrors.head(clone.remote, "main") == clone.git("rev-parse", "HEAD")


async def test_the_watches_of_the_repository_are_read_again_only_when_they_change(
    tmp_path: Path, clone: Clone
) -> None:
    read: list[str] = []

    class RecordingMirrors(Mirrors):
        async def entries(self, remote: str, commit: str, directory: str = "") -> list[Entry]:
            read.append(directory)
            return await super().entries(remote, commit, directory)

    async with RecordingMirrors(tmp_path / "home", Credentials(), User()) as mirrors:
        records = Records()
        event_watcher = watcher(records, mirrors, clone)
        for number in range(3):
            records.register("a", str(number))
            await check(event_watcher)
        assert read.count(".pipe") == 1
        clone.git("pull", "--quiet", "origin", "main")
        clone.commit_and_push("Watch more", {".pipe/more.yaml": watches(d="values.yaml")})
        await check(event_watcher)
        assert read.count(".pipe") == 2
        assert [watch.event_name for watch in records.watches["shop"]] == ["a", "b", "c", "d"]
        clone.commit_and_push("Watch nothing", {".pipe/more.yaml": None, ".pipe/events.yaml": None})
        await check(event_watcher)
        assert records.watches["shop"] == []


async def test_a_report_that_failed_is_repeated_without_a_second_commit(
    mirrors: Mirrors, clone: Clone
) -> None:
    records = Records(failures=1)
    records.register("a", "1")
    event_watcher = watcher(records, mirrors, clone)
    with pytest.raises(Temporary):
        await check(event_watcher)
    commit = await mirrors.head(clone.remote, "main")
    await check(event_watcher)
    assert records.results["0000"].message.startswith("Set 1 value in values.yaml of main (")
    assert await mirrors.head(clone.remote, "main") == commit


class FileRecords(Records):
    """The results are in a file that several processes share."""

    def __init__(self, file: Path, events: list[Event]) -> None:
        super().__init__(events=events)
        self.file = file

    def load(self) -> dict[str, EventResult]:
        # A line that a killed process began is incomplete.
        lines = self.file.read_text().split("\n")[:-1] if self.file.exists() else []
        results: dict[str, EventResult] = {}
        for event_id, outcome in (line.split() for line in lines):
            results.setdefault(event_id, EventResult(outcome=EventOutcome(outcome), message=""))
        return results

    async def list_pending(self, max_age: float) -> Sequence[Event]:
        self.results = self.load()
        return await super().list_pending(max_age)

    async def report(self, results: Sequence[tuple[str, EventResult]]) -> None:
        text = "".join(f"{event_id} {result.outcome.value}\n" for event_id, result in results)
        with self.file.open("a") as file:
            file.write(text)


def start_agent(records: FileRecords, clone: Clone, home: Path) -> int:
    """An agent in a process of its own, which ends after one check. Returns the process's id."""

    async def run() -> None:
        async with Mirrors(home, Credentials(), User()) as mirrors:
            await check(watcher(records, mirrors, clone))

    if child := os.fork():
        return child
    signal.alarm(300)
    code = 1
    with suppress(BaseException):
        asyncio.run(run())
        code = 0
    os._exit(code)


def test_agents_that_are_killed_write_every_value_once(tmp_path: Path, served_clone: Clone) -> None:
    """Invariant 19: by SIGKILL at any moment. Each agent continues with what it left in its directory."""
    events = Records()
    records = FileRecords(tmp_path / "results", events.events)
    homes = [tmp_path / "first", tmp_path / "second"]
    delays = random.Random(4711)
    for number in range(12):
        for name in "ab":
            events.register(name, f"{name}{number}")
        agents = [start_agent(records, served_clone, home) for home in homes]
        time.sleep(delays.uniform(0.02, 0.4))
        for agent in agents:
            os.kill(agent, signal.SIGKILL)
            os.waitpid(agent, 0)
    for home in homes:
        # The programs of a killed agent end after it, and may still be in the way of the next one.
        assert any(os.waitpid(start_agent(records, served_clone, home), 0)[1] == 0 for _ in range(5))
    results = records.load()
    assert sorted(results) == [event.id for event in events.events]
    successes = {event_id for event_id, each in results.items() if each.outcome is EventOutcome.SUCCESS}
    assert successes >= {event.id for event in events.events[-2:]}
    text, written = read_branch(served_clone)
    assert text == "a: a11\nb: b11\n"
    assert len(written) == len(set(written)), "an event was written twice"
    assert set(written) >= successes


def read_branch(clone: Clone) -> tuple[str, Sequence[str]]:
    """The values, and the ids of the events that commits name."""
    clone.git("pull", "--quiet", "origin", "main")
    trailers = clone.git("log", "--format=%(trailers:key=Pipecd-Event,valueonly)").split()
    return (clone.path / "values.yaml").read_text(), trailers


async def test_cancelled_agents_write_every_value_once(mirrors: Mirrors, served_clone: Clone) -> None:
    """Invariant 19: agents that are cancelled at any moment, and the last value of every event wins."""
    records = Records()
    ids = [records.register(name, f"{name}{number}") for number in range(5) for name in "ab"]
    for delay in range(0, 40, 4):
        agents = [asyncio.create_task(check(watcher(records, mirrors, served_clone))) for _ in range(2)]
        await asyncio.sleep(delay / 200)
        for agent in agents:
            agent.cancel()
        await asyncio.gather(*agents, return_exceptions=True)
    await asyncio.gather(*(check(watcher(records, mirrors, served_clone)) for _ in range(3)))
    assert sorted(records.results) == ids
    outcomes = [records.results[event_id].outcome for event_id in ids]
    assert outcomes[:-2] == [EventOutcome.OUTDATED] * 8
    assert outcomes[-2:] == [EventOutcome.SUCCESS] * 2
    text, written = read_branch(served_clone)
    assert text == "a: a4\nb: b4\n"
    assert sorted(written) == ids[-2:]


async def test_a_rule_of_the_host_fails_the_event_with_its_words(mirrors: Mirrors, clone: Clone) -> None:
    hook = Path(clone.remote) / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    records = Records()
    ids = [records.register("a", "1"), records.register("c", "1")]
    await check(watcher(records, mirrors, clone))
    first, second = (records.results[event_id] for event_id in ids)
    assert first.outcome is EventOutcome.FAILURE
    assert "the remote refused the push to main" in first.message
    assert "main is protected" in first.message
    assert second.outcome is EventOutcome.FAILURE


@pytest.mark.parametrize("has_results", [True, False])
async def test_each_watch_has_its_result(mirrors: Mirrors, clone: Clone, has_results: bool) -> None:
    """Two files watch an event; one of them cannot be changed. PipeCD's control plane has one status."""
    clone.commit_and_push("More", {".pipe/more.yaml": watches(a="missing.yaml"), "c.yaml": "c: 0\n"})
    records = Records(has_results=has_results)
    event_id = records.register("a", "1")
    agent = watcher(records, mirrors, clone)
    await check(agent)
    await check(agent)
    commit = await mirrors.head(clone.remote, "main")
    if not has_results:
        assert records.results[event_id].outcome is EventOutcome.FAILURE
        assert records.results[event_id].message.startswith("Failed to change missing.yaml")
        assert not records.by_watch and not records.watches
        return
    assert {watch.id for watch in records.watches["shop"]} == {f".pipe/events.yaml#{i}" for i in range(3)} | {
        ".pipe/more.yaml#0"
    }
    written = records.by_watch["shop", event_id, ".pipe/events.yaml#0"]
    assert (written.name, written.result.outcome) == ("events", EventOutcome.SUCCESS)
    assert (written.result.commit, written.result.branch) == (commit, "main")
    failed = records.by_watch["shop", event_id, ".pipe/more.yaml#0"]
    assert (failed.name, failed.result.outcome, failed.result.commit) == ("more", EventOutcome.FAILURE, "")


async def test_a_watch_handles_an_event_once_though_others_have_not(mirrors: Mirrors, clone: Clone) -> None:
    """The event stays in the list until all agents have handled it: also after a restart of this one."""
    records = Records()
    done = frozenset({("shop", ".pipe/events.yaml#0")})
    older = Event(id="1", name="a", data="1", created_at=int(SYSTEM_CLOCK.now()), handled_by=done)
    newer = replace(older, id="2", data="2")
    records.events = [older, newer]
    await check(watcher(records, mirrors, clone))
    assert not records.results
    records.events = [older, replace(newer, handled_by=frozenset())]
    await check(watcher(records, mirrors, clone))
    assert list(records.results) == ["2"]


APPLICATION = """
apiVersion: pipecd.dev/v1beta1
kind: TerraformApp
spec:
  name: web
  eventWatcher:
    - matcher: {name: a}
      handler:
        type: GIT_UPDATE
        config:
          makePullRequest: true
          commitMessage: "Take {{ .Value }}\\n\\nIt was released."
          replacements: [{file: values.yaml, yamlField: $.a}]
"""


@pytest.fixture
def web(clone: Clone) -> Application:
    clone.commit_and_push(
        "Add", {".pipe/events.yaml": None, "web/app.pipecd.yaml": APPLICATION, "web/values.yaml": "a: 0\n"}
    )
    return replace(application(), git_path=GitPath(repo_id="shop", path="web"))


async def test_a_pull_request_proposes_the_newest_value(
    mirrors: Mirrors, clone: Clone, web: Application
) -> None:
    """Killed after the push, refused for its rate, and asked again: one branch and one pull request."""
    records, forges = Records(), MemoryForges()
    forges.errors = [Temporary("slow down", after=1.0)]
    first = records.register("a", "1")
    with pytest.raises(Temporary, match="slow down"):
        await check(watcher(records, mirrors, clone, forges, web=web))
    assert not records.results and not forges.pull_requests
    await check(watcher(records, mirrors, clone, forges, web=web))
    [(branch, proposal)] = forges.pull_requests.items()
    assert branch.startswith("pipecd/web/a-")
    assert (proposal.base, proposal.title) == ("main", "Take 1")
    assert proposal.body == f"It was released.\n\n```\nPipecd-Event: {first}\n```"
    result = records.results[first]
    commit = await mirrors.head(clone.remote, branch)
    assert (result.outcome, result.commit, result.branch) == (EventOutcome.SUCCESS, commit, branch)
    assert result.pull_request == "https://git.example.com/1"
    assert "pull request 1: https://git.example.com/1" in result.message
    second = records.register("a", "2")
    await check(watcher(records, mirrors, clone, forges, web=web))
    assert records.results[second].outcome is EventOutcome.SUCCESS
    assert forges.pull_requests[branch].title == "Take 2" and len(forges.pull_requests) == 1
    clone.git("fetch", "--quiet", "origin")
    assert clone.git("show", f"origin/{branch}:web/values.yaml") == "a: 2"
    assert clone.git("log", "--format=%s", f"origin/main..origin/{branch}") == "Take 2"


async def test_a_pull_request_whose_value_came_by_another_way_is_closed(
    mirrors: Mirrors, clone: Clone, web: Application
) -> None:
    """By a commit of a person, also if another file changed; and by a newer value than the proposed one."""
    records, forges = Records(), MemoryForges()
    agent = watcher(records, mirrors, clone, forges, web=web)
    records.register("a", "1")
    await check(agent)
    [branch] = forges.pull_requests
    clone.commit_and_push("Something else", {"web/other.yaml": "x\n"})
    await check(agent)
    assert forges.pull_requests and not forges.closing, "it still proposes a change"
    clone.commit_and_push("By hand", {"web/values.yaml": "a: 1\n", "web/other.yaml": "y\n"})
    await check(agent)
    assert not forges.pull_requests
    clone.commit_and_push("Later", {"web/other.yaml": "z\n"})
    await check(agent)
    assert forges.closing == [branch], "asked once"

    records.register("a", "2")
    await check(agent)
    assert list(forges.pull_requests) == [branch]
    clone.commit_and_push("By hand", {"web/values.yaml": "a: 3\n"})
    third = records.register("a", "3")
    await check(agent)
    assert not forges.pull_requests
    result = records.results[third]
    assert result.outcome is EventOutcome.SUCCESS
    assert result.message == (
        "Nothing to change: the files have this value already; closed pull request 1: https://git.example.com/1"
    )


async def test_another_branch_gets_the_value_by_a_push_or_by_a_pull_request(
    mirrors: Mirrors, clone: Clone, web: Application
) -> None:
    """Two watches of one event: one pushes to a branch, the other proposes the value for another one."""
    spec = yaml.safe_load(APPLICATION)
    (watch,) = spec["spec"]["eventWatcher"]
    config = {"replacements": watch["handler"]["config"]["replacements"]}
    pushed = {**watch, "handler": {"config": {**config, "branch": "staging"}}}
    proposed = {**watch, "handler": {"config": {**config, "branch": "release", "makePullRequest": True}}}
    spec["spec"]["eventWatcher"] = [pushed, proposed]
    clone.git("push", "--quiet", "origin", "HEAD:staging", "HEAD:release")
    commit = clone.commit_and_push("Watch", {"web/app.pipecd.yaml": yaml.safe_dump(spec)})
    records, forges = Records(), MemoryForges()
    event_id = records.register("a", "1")
    async with recorded() as spans:
        await check(watcher(records, mirrors, clone, forges, web=web))
    assert records.results[event_id].outcome is EventOutcome.SUCCESS
    written = {span.id: span.attributes["branch"] for span in spans if span.name == "event watcher"}
    pushed_to = [written[span.parent] for span in spans if span.name == "git push"]
    assert pushed_to == list(written.values()) and pushed_to[0] == "staging"
    clone.git("fetch", "--quiet", "origin")
    assert clone.git("show", "origin/staging:web/values.yaml") == "a: 1"
    [(branch, proposal)] = forges.pull_requests.items()
    assert proposal.base == "release"
    assert clone.git("log", "--format=%s", f"origin/release..origin/{branch}") == "Set a to 1"
    assert clone.git("rev-parse", "origin/main") == commit
    assert clone.git("show", "origin/release:web/values.yaml") == "a: 0"
    results = {key[2]: each.result.branch for key, each in records.by_watch.items()}
    assert sorted(results.values()) == sorted([branch, "staging"])


async def test_a_missing_pull_request_fails_the_event(
    mirrors: Mirrors, clone: Clone, web: Application
) -> None:
    records, forges = Records(), MemoryForges()
    forges.errors = [Refused("git.example.com answered 403", remedy="give the token the permission")]
    event_id = records.register("a", "1")
    await check(watcher(records, mirrors, clone, forges, web=web))
    result = records.results[event_id]
    assert result.outcome is EventOutcome.FAILURE and result.branch.startswith("pipecd/web/a-")
    assert "no pull request for the branch pipecd/web/a-" in result.message
    assert "answered 403; give the token the permission" in result.message


async def test_without_access_to_the_host_only_the_branch_is_pushed(
    mirrors: Mirrors, clone: Clone, web: Application
) -> None:
    records = Records()
    event_id = records.register("a", "1")
    await check(watcher(records, mirrors, clone, web=web))
    assert records.results[event_id].outcome is EventOutcome.SUCCESS
    assert "no pull request: spec.gitHosts of the agent has no entry" in records.results[event_id].message


def test_texts_of_a_pull_request() -> None:
    event = Event(id="e1", name="image", data="x" * 300, contexts={"Source": "```"})
    title, body = pull_request_texts(commit_message("", [event, Event(id="e2", name="b", data="1")]))
    assert title == "Set values of 2 events"
    assert body.startswith("Events:\n- Set image to xxx") and body.endswith(
        "\n\n````\nSource: ```\nPipecd-Event: e1\nPipecd-Event: e2\n````"
    )
    title, body = pull_request_texts(commit_message("", [event]))
    assert len(title) <= 250 and body.startswith("````\nSource")


def test_a_message_is_bounded_and_its_trailers_cannot_be_forged() -> None:
    event = Event(
        id="e1",
        name="image",
        data="x\ny" * 100_000,
        contexts={"Pipecd-Event": "forged", "Source": "a\nPipecd-Event: forged"},
    )
    message = commit_message("Custom " + event.data, [event, event])
    assert len(message) < MAX_MESSAGE_LENGTH + 200
    assert message.rpartition("\n\n")[2] == "Source: a Pipecd-Event: forged\nPipecd-Event: e1\n"
    assert commit_message("", [event]).splitlines()[0] == f"Set image to {('x y' * 100)[:100].rstrip()}"
