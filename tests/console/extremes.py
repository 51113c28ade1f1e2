"""Content for every page with the longest names, texts without a break, other scripts and huge numbers."""

import time
from dataclasses import dataclass

from pipecd.client import Client
from pipecd.controlplane.records.chains import chain_id
from pipecd.model.resource import Health, Resource
from pipecd.schema.agent.chains_pb2 import CreateDeploymentChainRequest
from pipecd.schema.model.application_pb2 import ApplicationSyncStatus
from pipecd.schema.model.artifact_pb2 import ArtifactVersion
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event, EventResult, EventStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.stage_log_pb2 import ERROR, INFO, LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from pipecd.schema.model.trigger_pb2 import Commit
from tests.actors import TESTER
from tests.console.seeds import build_deployment
from tests.console.test_live_state import report_live_state, report_sync_state
from tests.console.test_states import seed_deployments
from tests.controlplane.server_fixture import PROJECT
from tests.world import World

#: Without a place where a line could break.
LONG = "PaymentsReconciliationAndSettlementServiceForEuCentral1Production"
#: From right to left, beside Latin letters, ideographs and an emoji of several code points.
FOREIGN = "מערכת-תשלומים-shop-決済サービス-👩🏽‍💻"
BRANCH = f"release/2026-11/{LONG}/{LONG}"
HASH = "0123456789abcdef0123456789abcdef01234567"
TEXT = f"{LONG * 3} {FOREIGN} " + "and several words more " * 8
LABELS = {"app.kubernetes.io/" + "k" * 45: "v" * 63, "team": "payments", "סביבה": "ייצור"}
#: Of a container's image, the longest that a registry accepts.
IMAGE = f"registry.{'sub-domain.' * 5}example.com/{LONG.lower()}/{LONG.lower()}"
HUGE = 999_999_999


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Ids of the records that have a page of their own."""

    application: str
    #: A deployment that waits for approval, and one that failed.
    waiting: str
    failed: str
    chain: str


async def seed_pages(w: World, agent: Client) -> Pages:
    await w.console.call("GenerateAPIKey", name="deploy-from-ci", role=1)
    await w.console.call("GenerateAPIKey", name=LONG, role=1)
    await w.console.call("RegisterPiped", name=LONG, desc=TEXT)
    waiting, _ = await seed_deployments(w, agent)
    application = await w.register(LONG, kind=TERRAFORM)
    await w.register(FOREIGN, kind=TERRAFORM)
    failed = build_failed(w, application)
    store = w.plane.server.services.store
    await store.create(failed, by=TESTER)
    logs = [
        LogBlock(index=number, log=text, severity=ERROR if number == 2 else INFO, created_at=1)
        for number, text in enumerate((TEXT, LONG * 40, FOREIGN), start=1)
    ]
    await w.plane.server.services.logs.checkpoint(failed, "stage-1", 0, logs, True)
    await seed_state(w, agent, application)
    await seed_events(w)
    return Pages(
        application=application,
        waiting=waiting,
        failed=failed.id,
        chain=await seed_chain(w, agent, application),
    )


def build_commit(at: int) -> Commit:
    author = f"{LONG} <{LONG.lower()}@example.com>"
    return Commit(hash=HASH, message=TEXT, author=author, branch=BRANCH, created_at=at)


def build_failed(w: World, application_id: str) -> Deployment:
    """It was rolled back, and each of its texts is long."""
    now = int(time.time())
    failed = build_deployment(w, application_id, LONG, at=now - HUGE)
    failed.id, failed.status, failed.completed_at = "failed", DeploymentStatus.DEPLOYMENT_FAILURE, now
    failed.trigger.commit.CopyFrom(build_commit(now))
    failed.trigger.commander = LONG
    failed.labels.update(LABELS)
    failed.summary, failed.status_reason, failed.running_commit_hash = TEXT, TEXT, HASH[::-1]
    failed.versions.add(kind=ArtifactVersion.CONTAINER_IMAGE, name=IMAGE, version=f"sha256:{HASH}{HASH[:24]}")
    states = (StageStatus.STAGE_SUCCESS, StageStatus.STAGE_FAILURE, StageStatus.STAGE_NOT_STARTED_YET)
    for index, status in enumerate(states):
        failed.stages.add(
            id=f"stage-{index}",
            name=f"{LONG}_{index}".upper(),
            desc=TEXT,
            index=index,
            requires=[f"stage-{index - 1}"] if index else [],
            visible=True,
            status=status,
            status_reason=TEXT,
            metadata={"startTime": str(now - HUGE)},
            created_at=1,
            updated_at=now,
            completed_at=now,
        )
    rollback = PipelineStage(id="rollback", name="ROLLBACK", index=3, rollback=True, visible=True)
    rollback.status, rollback.created_at, rollback.updated_at = StageStatus.STAGE_SUCCESS, now, now
    failed.stages.append(rollback)
    return failed


async def seed_state(w: World, agent: Client, application: str) -> None:
    """Resources as a tree, and drift."""
    pods = [
        Resource(id=f"p{number}", kind="Pod", name=f"web-{number}", parents=("s",), health=Health.HEALTHY)
        for number in range(12)
    ]
    service = Resource(id="s", kind="Service", name="web", health=Health.UNHEALTHY, created_at=1)
    long = Resource(
        id="long",
        kind=f"Custom{LONG}",
        name=f"{LONG}.{LONG}.{LONG}",
        namespace=LONG.lower(),
        health=Health.UNHEALTHY,
        health_reason=TEXT,
        created_at=1,
    )
    foreign = Resource(id="foreign", kind="Pod", name=FOREIGN, parents=("long",), health=Health.UNKNOWN)
    await report_live_state(w, agent, application, [service, long, foreign, *pods])
    lines = "\n".join(f"-{LONG}: {LONG * 5}\n+{LONG}: {LONG * 5}{number}" for number in range(3))
    diff = f"1 changed\n\n--- Running\n+++ Git\n# {LONG} {LONG}/{FOREIGN}\n@@ -3 +3 @@\n{lines}"
    await report_sync_state(agent, application, ApplicationSyncStatus.OUT_OF_SYNC, f"1 changed: {TEXT}", diff)


async def seed_chain(w: World, agent: Client, application: str) -> str:
    """A chain of two blocks, and a trace."""
    now = int(time.time())
    first = build_deployment(w, application, LONG, at=now - 1)
    first.id, first.deployment_trace_commit_hash = "first-of-chain", HASH
    first.trigger.commit.CopyFrom(build_commit(now))
    matcher = CreateDeploymentChainRequest.ApplicationMatcher(name=FOREIGN)
    await agent.call(
        agent.piped.CreateDeploymentChain,
        CreateDeploymentChainRequest(first_deployment=first, matchers=[matcher]),
    )
    trace = DeploymentTrace(
        id="trace",
        project_id=PROJECT,
        title=TEXT,
        commit_hash=HASH,
        author=LONG,
        created_at=now,
        updated_at=now,
    )
    await w.plane.server.services.store.create(trace, by=TESTER)
    return chain_id(first)


async def seed_events(w: World) -> None:
    """Of the future: a job of the control plane ends those that no agent handles."""
    at = int(time.time()) + 3600
    results = [
        EventResult(
            piped_id="p",
            repo_id=LONG,
            watcher=f"{LONG}/{LONG}/app.pipecd.yaml#0",
            name=LONG,
            status=status,
            commit_hash=HASH,
            branch=BRANCH,
            description=TEXT,
        )
        for status in (EventStatus.EVENT_SUCCESS, EventStatus.EVENT_FAILURE)
    ]
    event = Event(
        id="event",
        name=LONG,
        data=IMAGE * 4,
        project_id=PROJECT,
        labels=LABELS,
        event_key="k",
        status=EventStatus.EVENT_FAILURE,
        results=results,
        trigger_commit_hash=HASH,
        created_at=at,
        updated_at=at,
    )
    await w.plane.server.services.store.create(event, by=TESTER)
