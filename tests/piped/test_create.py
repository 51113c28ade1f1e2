"""Repeated creation yields one deployment: invariants 1 and 2, against a real control plane."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from pipecd.client import Client, PipedToken, Transport
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.application import Chain, Triggers
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import Application, DeploymentReference
from pipecd.model.deployment import Commit, TriggerKind
from pipecd.model.drift import Drift
from pipecd.model.notification import NotificationEvent
from pipecd.model.status import SyncStatus
from pipecd.piped.self_healing import SelfHealing
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.source.heads import AppFile, Head, Heads
from pipecd.piped.source.repository import Repository
from pipecd.piped.trigger.config_status import ConfigStatus
from pipecd.piped.trigger.create import Cause, DeploymentCreator, deployment_id
from pipecd.piped.trigger.loop import TriggerLoop, _Changes
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.secrets import Redactor
from tests.world import REPOSITORY, World, app_file, world

FILE = AppFile(
    kind="TERRAFORM", name="shop", description="", labels={"env": "new"}, trigger=Triggers(), chain=None
)


def head(w: World, name: str, at: int = 1) -> Head:
    commit = Commit(hash=name * 40, message="m", author="Ada", branch="main", created_at=at)
    repository = Repository(id=REPOSITORY, remote=w.git.url(REPOSITORY), branch="main")
    return Head(repository=repository, commit=commit, files={})


@dataclass
class Process:
    """The components of one agent process."""

    creator: DeploymentCreator
    view: View
    reporter: Reporter
    events: list[NotificationEvent] = field(default_factory=list)

    async def application(self) -> Application:
        await self.view.refresh_applications()
        (application,) = [one for one in self.view.applications.values() if one.name == "shop"]
        return application


@asynccontextmanager
async def process(w: World) -> AsyncIterator[Process]:
    token = PipedToken(project_id="shop", piped_id=w.piped_id, key=w.key)
    client = Client(w.plane.address, token, Transport(insecure=True))
    try:
        view, reporter = View(client, SYSTEM_CLOCK), Reporter(client, Redactor(), SYSTEM_CLOCK)
        events: list[NotificationEvent] = []
        creator = DeploymentCreator(reporter, view, SYSTEM_CLOCK, events.append)
        yield Process(creator, view, reporter, events)
    finally:
        await client.close()


@asynccontextmanager
async def registered_application(folder: Path) -> AsyncIterator[tuple[World, str]]:
    async with world(folder) as w:
        async with w.agent():
            app = await w.add_application("shop", None)
        await w.push("Add", {"shop/app.pipecd.yaml": app_file()})
        yield w, app


async def test_second_process_finds_the_deployment_of_the_first(tmp_path: Path) -> None:
    async with registered_application(tmp_path) as (w, app), process(w) as first, process(w) as second:
        cause = Cause(kind=TriggerKind.ON_COMMIT, reason="a new commit")
        stale = await second.application()
        deployment = await first.creator.create(await first.application(), head(w, "a"), FILE, cause)
        again = await second.creator.create(stale, head(w, "a"), FILE, cause)
        assert again.id == deployment.id
        assert len(await w.deployments(app)) == 1
        assert deployment.labels == {"env": "new"}, "the labels are those of the commit's file"
        (event,), (repeated,) = first.events, second.events
        assert event.key == repeated.key == f"{deployment.id}/DEPLOYMENT_TRIGGERED"


async def test_command_creates_one_deployment_despite_pushes_meanwhile(tmp_path: Path) -> None:
    async with registered_application(tmp_path) as (w, app), process(w) as first, process(w) as second:
        cause = Cause(kind=TriggerKind.ON_COMMAND, reason="requested", command_id="c", requested_by="ada")
        await first.creator.create(await first.application(), head(w, "a"), FILE, cause)
        again = await second.creator.create(await second.application(), head(w, "b", 2), FILE, cause)
        assert again.trigger.commit.hash == "a" * 40
        assert len(await w.deployments(app)) == 1
        last = (await second.application()).last_triggered
        assert last is not None
        assert last.commit == "a" * 40, "commit b would never be deployed"


async def test_existing_old_deployment_does_not_replace_the_latest(tmp_path: Path) -> None:
    async with registered_application(tmp_path) as (w, _), process(w) as agent:
        cause = Cause(kind=TriggerKind.ON_COMMAND, reason="requested", command_id="c")
        await agent.creator.create(await agent.application(), head(w, "a"), FILE, cause)
        newer = Cause(kind=TriggerKind.ON_COMMIT, reason="pushed", previous_id="x")
        deployment = await agent.creator.create(await agent.application(), head(w, "b", 2), FILE, newer)
        application = await agent.application()
        assert application.last_triggered is not None
        later = replace(application.last_triggered, started_at=deployment.created_at + 5)
        await agent.creator.create(replace(application, last_triggered=later), head(w, "b", 2), FILE, cause)
        last = (await agent.application()).last_triggered
        assert last is not None
        assert last.deployment_id == deployment.id


def loop_of(agent: Process, folder: Path) -> TriggerLoop:
    heads = Heads(Mirrors(folder / "home", Credentials(), User()), {})
    notify = agent.events.append
    sync_states = SyncStates(agent.reporter, SYSTEM_CLOCK, notify)
    config_status = ConfigStatus(sync_states, agent.view, SYSTEM_CLOCK, notify)
    return TriggerLoop(
        agent.view,
        Leadership(),
        agent.reporter,
        heads,
        agent.creator,
        config_status,
        SelfHealing(SYSTEM_CLOCK),
        SYSTEM_CLOCK,
        notify,
        60.0,
    )


async def test_drift_fixed_by_the_last_deployment_is_not_deployed_again(tmp_path: Path) -> None:
    """A check by the trigger loop may have started before that deployment ended."""
    async with registered_application(tmp_path) as (w, app), process(w) as agent:
        rule = {"disabled": False, "minWindow": "0s"}
        file = replace(FILE, trigger=Triggers.model_validate({"onOutOfSync": rule}))
        trigger_loop = loop_of(agent, tmp_path)
        await agent.reporter.report_sync_state(app, SyncStatus.SYNCED, short="In sync", at=1)
        stale = replace(await agent.application(), sync_status=SyncStatus.OUT_OF_SYNC)
        await trigger_loop._on_out_of_sync(stale, head(w, "a"), file)
        assert not await w.deployments(app)
        await agent.reporter.report_sync_state(app, SyncStatus.OUT_OF_SYNC, short="Differs", at=2)
        await trigger_loop._on_out_of_sync(stale, head(w, "a"), file)
        assert len(await w.deployments(app)) == 1


async def test_drift_that_comes_back_each_time_is_not_deployed_again(tmp_path: Path) -> None:
    async with registered_application(tmp_path) as (w, app), process(w) as agent:
        rule = {"disabled": False, "minWindow": "0s"}
        file = replace(FILE, trigger=Triggers.model_validate({"onOutOfSync": rule}))
        trigger_loop = loop_of(agent, tmp_path)
        await agent.reporter.report_sync_state(app, SyncStatus.OUT_OF_SYNC, short="Differs", at=2)
        application = await agent.application()
        for number in range(3):
            last = DeploymentReference(deployment_id=str(number), commit="a")
            trigger_loop._self_healing.record_drift(
                replace(application, last_triggered=last), Drift(summary="Differs")
            )
        await trigger_loop._on_out_of_sync(application, head(w, "a"), file)
        assert not await w.deployments(app)
        trigger_loop._self_healing.reset(app)
        await trigger_loop._on_out_of_sync(application, head(w, "a"), file)
        assert len(await w.deployments(app)) == 1


KINDS = st.sampled_from([TriggerKind.ON_COMMIT, TriggerKind.ON_OUT_OF_SYNC])
CAUSES = st.builds(
    Cause, kind=KINDS, reason=st.text(), previous_id=st.sampled_from(["", "p", "q"]), requested_by=st.text()
)


@given(CAUSES, CAUSES, st.sampled_from("ab"), st.sampled_from("ab"))
def test_ids_differ_exactly_if_the_causes_differ(one: Cause, other: Cause, c1: str, c2: str) -> None:
    same = (one.kind, one.previous_id, c1) == (other.kind, other.previous_id, c2)
    assert (deployment_id("app", c1, one) == deployment_id("app", c2, other)) is same


async def test_a_chain_that_the_control_plane_refuses_is_shown_with_the_application(tmp_path: Path) -> None:
    """Until the file is corrected, or the application that it names is registered."""
    async with registered_application(tmp_path) as (w, app), process(w) as agent:
        trigger_loop = loop_of(agent, tmp_path)
        chain = Chain.model_validate({"applications": [{"name": "later"}]})
        at_head = replace(head(w, "a"), files={"shop/app.pipecd.yaml": replace(FILE, chain=chain)})

        async def check() -> Application:
            await trigger_loop._check_application(await agent.application(), at_head, cast(_Changes, None))
            return await agent.application()

        for _ in range(3):
            refused = await check()
            assert refused.sync_status is SyncStatus.INVALID_CONFIG
            assert "app.pipecd.yaml: postSync.chain.applications[0] matches no" in refused.sync_reason
        assert [event.name for event in agent.events] == ["DEPLOYMENT_TRIGGER_FAILED"]
        assert not await w.deployments(app)
        await w.register("later", kind=ApplicationKind.TERRAFORM)
        assert (await check()).sync_status is not SyncStatus.INVALID_CONFIG
        assert len(await w.deployments(app)) == 1
