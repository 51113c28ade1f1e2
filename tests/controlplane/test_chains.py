"""Deployment chains: created once with all commands, and ended by whatever does not succeed."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.controlplane.jobs import update_chains
from pipecd.controlplane.records import chain_cancels, chains
from pipecd.controlplane.settings import RecordSettings, Settings
from pipecd.controlplane.store import Store, lists
from pipecd.model.status import DeploymentStatus as DeploymentState
from pipecd.schema.agent import chains_pb2, commands_pb2, deployments_pb2
from pipecd.schema.model.chain_pb2 import (
    ChainApplicationRef,
    ChainBlock,
    ChainBlockStatus,
    ChainDeploymentRef,
    ChainNode,
    ChainStatus,
    DeploymentChain,
)
from pipecd.schema.model.chain_pb2 import ChainFailurePolicy as Policy
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, ControlPlane, control_plane
from tests.controlplane.test_agents import Agent, agent, application, completion_report, deployment
from tests.piped.test_order import at, pending_deployment

__all__ = ["agent"]

Matcher = chains_pb2.CreateDeploymentChainRequest.ApplicationMatcher
Node, Block = DeploymentStatus, ChainBlockStatus


@pytest.fixture
async def plane(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[ControlPlane]:
    """Without jobs: the tests run `update_chains` themselves, when no other write happens."""
    settings = getattr(request, "param", Settings())
    async with control_plane(tmp_path, with_jobs=False, settings=settings) as running:
        yield running


def chain_request(first: Deployment, *matchers: Matcher) -> chains_pb2.CreateDeploymentChainRequest:
    return chains_pb2.CreateDeploymentChainRequest(first_deployment=first, matchers=matchers)


class Chain:
    """A chain of the applications `names`, one in each block; the first deployment has the id `d0`."""

    def __init__(self, plane: ControlPlane, agent: Agent, applications: list[str]) -> None:
        self.plane, self.agent, self.applications = plane, agent, applications
        self.id = chains.chain_id(Deployment(id="d0", project_id=PROJECT))

    @classmethod
    async def create(cls, plane: ControlPlane, agent: Agent, *names: str) -> "Chain":
        ids = {name: await application(plane, agent, name) for name in dict.fromkeys(names)}
        matchers = [Matcher(name=name) for name in names[1:]]
        await agent.call(
            "CreateDeploymentChain", chain_request(deployment(agent, ids[names[0]], "d0"), *matchers)
        )
        return cls(plane, agent, [ids[name] for name in names])

    async def commands(self) -> list[Command]:
        """In the order of the blocks."""
        listed = await self.agent.call("ListUnhandledCommands", commands_pb2.ListUnhandledCommandsRequest())
        return sorted(listed.commands, key=lambda command: int(command.chain_sync_application.block_index))

    def deployment(self, block: int, id: str = "") -> Deployment:
        made = deployment(self.agent, self.applications[block], id or f"d{block}")
        made.deployment_chain_id, made.deployment_chain_block_index = self.id, block
        return made

    async def deploy(self, block: int) -> None:
        request = deployments_pb2.CreateDeploymentRequest(deployment=self.deployment(block))
        await self.agent.call("CreateDeployment", request)

    async def complete(self, id: str, status: DeploymentStatus.ValueType) -> None:
        if status == Node.DEPLOYMENT_SUCCESS:
            report = deployments_pb2.ReportDeploymentPlannedRequest(deployment_id=id)
            await self.agent.call("ReportDeploymentPlanned", report)
        await self.agent.call("ReportDeploymentCompleted", completion_report(id, status))

    async def answer(self, command: Command, status: CommandStatus.ValueType, reason: str = "") -> None:
        report = commands_pb2.ReportCommandHandledRequest(
            command_id=command.id, status=status, handled_at=2, metadata={"reason": reason} if reason else {}
        )
        await self.agent.call("ReportCommandHandled", report)

    async def plannable(self, block: int) -> Any:
        return await self.agent.call(
            "InChainDeploymentPlannable",
            chains_pb2.InChainDeploymentPlannableRequest(
                deployment_id="d0", deployment_chain_id=self.id, deployment_chain_block_index=block
            ),
        )

    async def updated(self) -> DeploymentChain:
        """The chain after the job."""
        services = self.plane.server.services
        await update_chains.run(services, TESTER)
        return (await services.store.get(DeploymentChain, self.id)).message


async def test_a_chain_proceeds_block_by_block(plane: ControlPlane, agent: Agent) -> None:
    chain = await Chain.create(plane, agent, "first", "later")
    (command,) = await chain.commands()
    assert command.type == Command.CHAIN_SYNC_APPLICATION
    sync = command.chain_sync_application
    assert (sync.application_id, sync.block_index) == (chain.applications[1], 1)
    await chain.deploy(1)
    assert (await chain.plannable(0)).plannable
    assert not (await chain.plannable(1)).plannable
    waiting = (await chain.updated()).blocks[1].nodes[0].deployment_ref
    assert (
        waiting.status_reason == "waits for block 1 of the deployment chain: first (pending, deployment d0)"
    )
    await chain.complete("d0", Node.DEPLOYMENT_SUCCESS)
    assert (await chain.updated()).status == ChainStatus.DEPLOYMENT_CHAIN_RUNNING
    assert (await chain.plannable(1)).plannable
    await chain.complete("d1", Node.DEPLOYMENT_SUCCESS)
    record = await chain.updated()
    assert record.status == ChainStatus.DEPLOYMENT_CHAIN_SUCCESS
    assert record.completed_at


async def test_agents_whose_turn_it_may_be_are_notified(plane: ControlPlane, agent: Agent) -> None:
    """Once a block has ended, and not at every change of a chain."""
    chain = await Chain.create(plane, agent, "first", "later", "last")
    await chain.deploy(1)
    store = plane.server.services.store
    with store.feed.subscribe() as changes:

        async def turns() -> list[str]:
            await store.announce("end", project_id=PROJECT, id="end")
            found: list[str] = []
            async with asyncio.timeout(60):
                while (change := await changes.get()).kind != "end":
                    found += [change.piped_id] if change.kind == chains.TURN else []
            return found

        await chain.complete("d0", Node.DEPLOYMENT_SUCCESS)
        assert (await chain.updated()).blocks[0].completed_at
        assert await turns() == [agent.id]
        await chain.complete("d1", Node.DEPLOYMENT_SUCCESS)
        assert (await chain.updated()).blocks[1].completed_at
        assert await turns() == [], "nothing of this agent waits"


async def test_a_refused_command_ends_the_chain(plane: ControlPlane, agent: Agent) -> None:
    """`trigger.onChain` is disabled unless an application enables it."""
    chain = await Chain.create(plane, agent, "first", "second", "third", "fourth")
    _, command, last = await chain.commands()
    reason = "trigger.onChain is not enabled in the application's file"
    await chain.answer(command, CommandStatus.COMMAND_FAILED, reason)
    for block in (1, 3):
        await chain.deploy(block)
    record = await chain.updated()
    assert [block.status for block in record.blocks[2:]] == [Block.DEPLOYMENT_BLOCK_CANCELLED] * 2
    assert record.blocks[2].nodes[0].deployment_ref.status_reason == reason
    assert (await chain.plannable(3)).cancel, "it would wait indefinitely"
    assert record.status == ChainStatus.DEPLOYMENT_CHAIN_RUNNING, "deployments of the chain are unfinished"
    for id in ("d0", "d1"):
        await chain.complete(id, Node.DEPLOYMENT_SUCCESS)
        await chain.updated()
    await chain.complete("d3", Node.DEPLOYMENT_CANCELLED)
    record = await chain.updated()
    assert record.status == ChainStatus.DEPLOYMENT_CHAIN_CANCELLED
    assert record.blocks[3].nodes[0].deployment_ref.status == Node.DEPLOYMENT_CANCELLED
    assert not await lists.unfinished_chains(plane.server.services.store)
    assert last.chain_sync_application.block_index == 3


@pytest.mark.parametrize("status", [CommandStatus.COMMAND_TIMEOUT, CommandStatus.COMMAND_SUCCEEDED])
async def test_a_command_without_a_deployment_ends_the_chain(
    plane: ControlPlane, agent: Agent, status: CommandStatus.ValueType
) -> None:
    chain = await Chain.create(plane, agent, "first", "second")
    (command,) = await chain.commands()
    await chain.answer(command, status)
    await chain.complete("d0", Node.DEPLOYMENT_SUCCESS)
    record = await chain.updated()
    assert record.status == ChainStatus.DEPLOYMENT_CHAIN_CANCELLED
    assert record.blocks[1].nodes[0].deployment_ref.status_reason


async def test_a_failure_cancels_all_later_blocks(plane: ControlPlane, agent: Agent) -> None:
    chain = await Chain.create(plane, agent, "first", "second", "third")
    await chain.deploy(2)
    await chain.complete("d0", Node.DEPLOYMENT_FAILURE)
    record = await chain.updated()
    assert [block.status for block in record.blocks] == [
        Block.DEPLOYMENT_BLOCK_FAILURE,
        Block.DEPLOYMENT_BLOCK_CANCELLED,
        Block.DEPLOYMENT_BLOCK_CANCELLED,
    ]
    assert (await chain.plannable(2)).cancel, "not only the block after the failed one"
    await chain.complete("d2", Node.DEPLOYMENT_CANCELLED)
    assert (await chain.updated()).status == ChainStatus.DEPLOYMENT_CHAIN_FAILURE
    # A deployment that is created only now is cancelled, and does not reopen the chain.
    await chain.deploy(1)
    assert (await chain.plannable(1)).cancel
    record = await chain.updated()
    assert record.status == ChainStatus.DEPLOYMENT_CHAIN_FAILURE
    assert record.blocks[1].nodes[0].deployment_ref.status == Node.DEPLOYMENT_CANCELLED


async def test_a_chain_is_created_once_with_all_its_commands(
    plane: ControlPlane, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between and repeated: one chain, every command."""
    names = ("first", "second", "third")
    ids = {name: await application(plane, agent, name) for name in names}
    request = chain_request(
        deployment(agent, ids["first"], "d0"), Matcher(name="second"), Matcher(name="third")
    )
    insert = Store._insert

    def interrupted(store: Store, connection: Any, message: Any, by: Any) -> None:
        if isinstance(message, Command):
            raise RuntimeError("killed")
        insert(store, connection, message, by)

    monkeypatch.setattr(Store, "_insert", interrupted)
    assert await agent.code("CreateDeploymentChain", request) == "INTERNAL"
    monkeypatch.undo()
    counts = "select (select count(*) from chains), (select count(*) from deployments)"
    with sqlite3.connect(tmp_path / "pipecd.db") as database:
        assert database.execute(counts).fetchone() == (0, 0), "all or nothing"
        assert await agent.code("CreateDeploymentChain", request) == "OK"
        assert await agent.code("CreateDeploymentChain", request) == "ALREADY_EXISTS"
        assert database.execute(counts).fetchone() == (1, 1)
    listed = await agent.call("ListUnhandledCommands", commands_pb2.ListUnhandledCommandsRequest())
    assert len(listed.commands) == 2


async def test_an_application_in_two_blocks_has_a_deployment_in_each(
    plane: ControlPlane, agent: Agent
) -> None:
    chain = await Chain.create(plane, agent, "first", "second", "first")
    assert chain.applications[0] == chain.applications[2]
    assert [command.chain_sync_application.block_index for command in await chain.commands()] == [1, 2]
    await chain.deploy(2)
    await chain.deploy(1)
    record = await chain.updated()
    deployments = [block.nodes[0].deployment_ref.deployment_id for block in record.blocks]
    assert deployments == ["d0", "d1", "d2"]


async def test_a_deployment_is_created_only_if_its_chain_has_a_node_for_it(
    plane: ControlPlane, agent: Agent
) -> None:
    chain = await Chain.create(plane, agent, "first", "second")
    await chain.deploy(1)
    second, nowhere, beyond = chain.deployment(1, "other"), chain.deployment(1, "x"), chain.deployment(1, "y")
    nowhere.deployment_chain_block_index, beyond.deployment_chain_block_index = 0, 7
    for refused in (second, nowhere, beyond):
        request = deployments_pb2.CreateDeploymentRequest(deployment=refused)
        assert await agent.code("CreateDeployment", request) == "INVALID_ARGUMENT"
        assert await agent.code("GetDeployment", deployments_pb2.GetDeploymentRequest(id=refused.id)) != "OK"
    repeated = deployments_pb2.CreateDeploymentRequest(deployment=chain.deployment(1))
    assert await agent.code("CreateDeployment", repeated) == "ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("matcher", "message"),
    [
        (Matcher(name="nothing"), r"applications\[1\] matches no enabled application.*name: nothing"),
        (Matcher(kind="ECS", labels={"env": "prod"}), r"applications\[1\].*kind: ECS, label env: prod"),
        (Matcher(kind="ECSApp"), "not a valid application kind"),
    ],
)
async def test_a_matcher_that_matches_nothing_is_refused(
    plane: ControlPlane, agent: Agent, matcher: Matcher, message: str
) -> None:
    first = await application(plane, agent, "first")
    second = await application(plane, agent, "second")
    request = chain_request(deployment(agent, first, "d0"), Matcher(name="second"), matcher)
    with pytest.raises(Exception, match=message):
        await agent.call("CreateDeploymentChain", request)
    await plane.console.call("DisableApplication", application_id=second)
    assert await agent.code("CreateDeploymentChain", chain_request(deployment(agent, first, "d0"))) == "OK"
    again = chain_request(deployment(agent, first, "d1"), Matcher(name="second"))
    assert await agent.code("CreateDeploymentChain", again) == "INVALID_ARGUMENT", "a disabled application"


@pytest.mark.parametrize(
    "plane", [Settings(records=RecordSettings(max_chain_applications=1))], indirect=True, ids=["limit 1"]
)
async def test_a_chain_has_a_limit(plane: ControlPlane, agent: Agent) -> None:
    first = await application(plane, agent, "first")
    await application(plane, agent, "second")
    request = chain_request(deployment(agent, first, "d0"), Matcher(kind="TERRAFORM"))
    assert await agent.code("CreateDeploymentChain", request) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("policy", [Policy.CHAIN_FAILURE_FINISH, Policy.CHAIN_FAILURE_CANCEL])
async def test_a_failure_cancels_the_deployments_of_its_block_if_configured(
    plane: ControlPlane, agent: Agent, policy: Policy.ValueType
) -> None:
    """Once, and only those that run."""
    ids = [await application(plane, agent, name) for name in ("failing", "running", "ended", "last")]
    request = chain_request(deployment(agent, ids[0], "d0"), Matcher(kind="TERRAFORM"), Matcher(name="last"))
    request.on_failure = policy
    await agent.call("CreateDeploymentChain", request)
    chain = Chain(plane, agent, [ids[0], ids[0]])
    for id, app in zip(("failing", "running", "ended", "pending"), ids, strict=True):
        chain.applications[1] = app
        created = deployments_pb2.CreateDeploymentRequest(deployment=chain.deployment(1, id))
        await agent.call("CreateDeployment", created)
    await chain.complete("d0", Node.DEPLOYMENT_SUCCESS)
    await chain.complete("ended", Node.DEPLOYMENT_SUCCESS)
    report = deployments_pb2.ReportDeploymentPlannedRequest(deployment_id="running")
    await agent.call("ReportDeploymentPlanned", report)
    await chain.updated()
    assert not [each for each in await chain.commands() if each.type == Command.CANCEL_DEPLOYMENT]
    await chain.complete("failing", Node.DEPLOYMENT_FAILURE)
    # At two replicas, as after a lease has expired.
    for updated in await asyncio.gather(chain.updated(), chain.updated()):
        assert updated.status == ChainStatus.DEPLOYMENT_CHAIN_RUNNING
    cancels = [each for each in await chain.commands() if each.type == Command.CANCEL_DEPLOYMENT]
    if policy == Policy.CHAIN_FAILURE_FINISH:
        assert not cancels
    else:
        (cancel,) = cancels
        assert (cancel.deployment_id, cancel.commander) == ("running", "the deployment chain")
        assert cancel.cancel_deployment.comment == "failing in block 2 did not succeed"
    pending = await chain.plannable(1)
    assert pending.cancel_reason == "another deployment of block 2 of the deployment chain did not succeed"
    assert (await chain.plannable(2)).cancel_reason == "block 2 of the deployment chain failed"


Queued = tuple[str, int]
DEADLOCKS: dict[str, tuple[dict[str, list[str]], dict[str, list[Queued]], str]] = {
    # Chain → applications of its blocks; application → chain and commit of deployments; what is cancelled.
    "in the same order": ({"1": ["x", "y"], "2": ["x", "y"]}, {"x": [("1", 1), ("2", 2)]}, ""),
    "in opposite order, but each is first where it begins": (
        {"1": ["x", "y"], "2": ["y", "x"]},
        {"x": [("1", 1), ("2", 2)], "y": [("2", 1), ("1", 2)]},
        "",
    ),
    "of one commit, where the agent lets the other go first": (
        {"1": ["x", "y"], "2": ["y", "x"]},
        {"x": [("2", 1), ("1", 1)], "y": [("1", 1), ("2", 1)]},
        "",
    ),
    "each is behind the other where it begins": (
        {"1": ["x", "y"], "2": ["y", "x"]},
        {"x": [("2", 1), ("1", 2)], "y": [("1", 1), ("2", 2)]},
        "2/x",
    ),
    "three chains": (
        {"1": ["x", "y"], "2": ["y", "z"], "3": ["z", "x"]},
        {"x": [("3", 1), ("1", 2)], "y": [("1", 1), ("2", 2)], "z": [("2", 1), ("3", 2)]},
        "3/x",
    ),
    "another deployment between them": (
        {"1": ["x", "y"], "2": ["y", "x"], "3": ["x"]},
        {"x": [("2", 1), ("3", 2), ("1", 3)], "y": [("1", 1), ("2", 2)]},
        "2/x",
    ),
}


@pytest.mark.parametrize("case", DEADLOCKS.values(), ids=DEADLOCKS.keys())
def test_chains_that_wait_for_each_other_lose_a_deployment_of_the_newest(
    case: tuple[dict[str, list[str]], dict[str, list[Queued]], str],
) -> None:
    blocks, queues, expected = case
    records = [
        DeploymentChain(
            id=chain,
            created_at=int(chain),
            blocks=[
                ChainBlock(
                    nodes=[
                        ChainNode(
                            application_ref=ChainApplicationRef(application_id=app, application_name=app),
                            deployment_ref=ChainDeploymentRef(deployment_id=f"{chain}/{app}"),
                        )
                    ]
                )
                for app in apps
            ],
        )
        for chain, apps in blocks.items()
    ]
    queued = [
        replace(
            at(f"c{committed}", pending_deployment(f"{chain}/{app}", committed, 1)),
            application_id=app,
            chain_id=chain,
            chain_block=blocks[chain].index(app),
        )
        for app, queue in queues.items()
        for chain, committed in queue
    ]
    found = chain_cancels.find_deadlock(records, queued)
    assert list(found) == ([expected] if expected else [])
    if expected:
        assert re.fullmatch(
            r"the deployment chains of x( and [yz])+ wait for each other, and this is the newest",
            found[expected],
        )
        ended = [
            replace(each, status=DeploymentState.CANCELLED) if each.id == expected else each
            for each in queued
        ]
        assert not chain_cancels.find_deadlock(records, ended)


async def test_a_deadlock_is_ended_by_a_command(plane: ControlPlane, agent: Agent) -> None:
    x, y = [await application(plane, agent, name) for name in ("xx", "yy")]

    def of_commit(record: Deployment, committed: int) -> Deployment:
        record.trigger.commit.hash, record.trigger.commit.created_at = f"c{committed}", committed
        return record

    for first, second, name in ((x, y, "yy"), (y, x, "xx")):
        head = of_commit(deployment(agent, first, f"0{name}"), 2)
        await agent.call("CreateDeploymentChain", chain_request(head, Matcher(name=name)))
        chain = chains.chain_id(Deployment(id=f"0{name}", project_id=PROJECT))
        later = of_commit(deployment(agent, second, f"1{name}"), 1)
        later.deployment_chain_id, later.deployment_chain_block_index = chain, 1
        await agent.call("CreateDeployment", deployments_pb2.CreateDeploymentRequest(deployment=later))
    await update_chains.run(plane.server.services, TESTER)
    listed = await agent.call("ListUnhandledCommands", commands_pb2.ListUnhandledCommandsRequest())
    (cancel,) = [command for command in listed.commands if command.type == Command.CANCEL_DEPLOYMENT]
    assert cancel.deployment_id in ("1xx", "1yy")
    log = await plane.console.call("ListAudit", page_size=10)
    sentences = [entry.summary for entry in log.entries]
    name = cancel.deployment_id[1:]
    assert f"requested to cancel deployment {name}, because of its deployment chain" in sentences
    assert cancel.cancel_deployment.comment.startswith(
        "the deployment chains of xx and yy wait for each other"
    )
