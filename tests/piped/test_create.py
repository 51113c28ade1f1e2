"""Making a deployment twice makes one: invariants 1 and 2, against a real control plane."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipecd.client import Client, PipedToken, Transport
from pipecd.config.application import Triggers
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import Application
from pipecd.model.deployment import Commit, TriggerKind
from pipecd.model.status import SyncStatus
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.piped.source.heads import AppFile, Head, Heads
from pipecd.piped.source.repository import Repository
from pipecd.piped.trigger.create import Cause, Creator, deployment_id
from pipecd.piped.trigger.loop import Triggering
from pipecd.secrets import Redactor
from tests.world import REPOSITORY, World, app_file, world

FILE = AppFile(kind="TERRAFORM", name="shop", description="", labels={}, trigger=Triggers(), chain=None)


def head(w: World, name: str, at: int = 1) -> Head:
    commit = Commit(hash=name * 40, message="m", author="Ada", branch="main", created_at=at)
    repository = Repository(id=REPOSITORY, remote=w.git.url(REPOSITORY), branch="main")
    return Head(repository=repository, commit=commit, files={})


@dataclass
class Process:
    """What one process of the agent knows."""

    creator: Creator
    view: View
    reports: Reports

    async def application(self) -> Application:
        await self.view.refresh_applications()
        (found,) = self.view.applications.values()
        return found


@asynccontextmanager
async def process(w: World) -> AsyncIterator[Process]:
    token = PipedToken(project_id="shop", piped_id=w.piped_id, key=w.key)
    client = Client(w.plane.address, token, Transport(insecure=True))
    try:
        view, reports = View(client), Reports(client, Redactor())
        yield Process(Creator(reports, view), view, reports)
    finally:
        await client.close()


@asynccontextmanager
async def registered(folder: Path) -> AsyncIterator[tuple[World, str]]:
    async with world(folder) as w:
        async with w.agent():
            app = await w.application("shop", None)
        await w.push("Add", {"shop/app.pipecd.yaml": app_file()})
        yield w, app


async def test_a_second_process_finds_the_deployment_of_the_first(tmp_path: Path) -> None:
    async with registered(tmp_path) as (w, app), process(w) as first, process(w) as second:
        cause = Cause(kind=TriggerKind.ON_COMMIT, why="because")
        stale = await second.application()
        made = await first.creator.create(await first.application(), head(w, "a"), FILE, cause)
        again = await second.creator.create(stale, head(w, "a"), FILE, cause)
        assert again.id == made.id
        assert len(await w.deployments(app)) == 1


async def test_a_command_leads_to_one_deployment_whatever_was_pushed_meanwhile(tmp_path: Path) -> None:
    async with registered(tmp_path) as (w, app), process(w) as first, process(w) as second:
        cause = Cause(kind=TriggerKind.ON_COMMAND, why="asked", command_id="c", commander="ada")
        await first.creator.create(await first.application(), head(w, "a"), FILE, cause)
        again = await second.creator.create(await second.application(), head(w, "b", 2), FILE, cause)
        assert again.trigger.commit.hash == "a" * 40
        assert len(await w.deployments(app)) == 1
        last = (await second.application()).last_triggered
        assert last is not None
        assert last.commit == "a" * 40, "commit b would never be deployed"


async def test_an_old_deployment_found_again_does_not_pass_for_the_last_one(tmp_path: Path) -> None:
    async with registered(tmp_path) as (w, _), process(w) as agent:
        cause = Cause(kind=TriggerKind.ON_COMMAND, why="asked", command_id="c")
        await agent.creator.create(await agent.application(), head(w, "a"), FILE, cause)
        newer = Cause(kind=TriggerKind.ON_COMMIT, why="pushed", previous_id="x")
        made = await agent.creator.create(await agent.application(), head(w, "b", 2), FILE, newer)
        application = await agent.application()
        assert application.last_triggered is not None
        later = replace(application.last_triggered, started_at=made.created_at + 5)
        await agent.creator.create(replace(application, last_triggered=later), head(w, "b", 2), FILE, cause)
        last = (await agent.application()).last_triggered
        assert last is not None
        assert last.deployment_id == made.id


async def test_what_the_last_deployment_put_right_is_not_deployed_again(tmp_path: Path) -> None:
    """A round of the trigger may have begun before that deployment ended."""
    async with registered(tmp_path) as (w, app), process(w) as agent:
        rule = {"disabled": False, "minWindow": "0s"}
        file = replace(FILE, trigger=Triggers.model_validate({"onOutOfSync": rule}))
        heads = Heads(Mirrors(tmp_path / "home", Credentials(), User()), {})
        triggering = Triggering(agent.view, Leadership(), agent.reports, heads, agent.creator, 60.0)
        await agent.reports.sync_state(app, SyncStatus.SYNCED, short="The last deployment succeeded")
        stale = replace(await agent.application(), sync_status=SyncStatus.OUT_OF_SYNC)
        await triggering._on_out_of_sync(stale, head(w, "a"), file)
        assert not await w.deployments(app)
        await agent.reports.sync_state(app, SyncStatus.OUT_OF_SYNC, short="Differs from Git")
        await triggering._on_out_of_sync(stale, head(w, "a"), file)
        assert len(await w.deployments(app)) == 1


KINDS = st.sampled_from([TriggerKind.ON_COMMIT, TriggerKind.ON_OUT_OF_SYNC])
CAUSES = st.builds(
    Cause, kind=KINDS, why=st.text(), previous_id=st.sampled_from(["", "p", "q"]), commander=st.text()
)


@given(CAUSES, CAUSES, st.sampled_from("ab"), st.sampled_from("ab"))
def test_ids_tell_apart_what_is_apart_and_nothing_else(one: Cause, other: Cause, c1: str, c2: str) -> None:
    same = (one.kind, one.previous_id, c1) == (other.kind, other.previous_id, c2)
    assert (deployment_id("app", c1, one) == deployment_id("app", c2, other)) is same
