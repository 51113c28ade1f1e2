"""The project that the benchmark of the console shows: applications, deployments, a tree and a log."""

import random
import time
from collections.abc import Sequence

from bench.records import insert
from pipecd.client import PipedToken, Transport, connect
from pipecd.model.application import Application as ApplicationValue
from pipecd.model.application import GitPath
from pipecd.model.resource import Health, Resource
from pipecd.schema.agent.live_state_pb2 import ReportApplicationLiveStateRequest
from pipecd.schema.model.application_pb2 import (
    Application,
    ApplicationDeploymentReference,
    ApplicationSyncState,
    ApplicationSyncStatus,
)
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ECS, KUBERNETES, LAMBDA, TERRAFORM, ApplicationKind
from pipecd.schema.model.stage_log_pb2 import ERROR, INFO, LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trigger_pb2 import Commit, DeploymentTrigger
from pipecd.wire import snapshot_to
from tests.controlplane.server_fixture import PROJECT, ControlPlane

APPLICATIONS, DEPLOYMENTS, RESOURCES, LINES = 10_000, 30_000, 1_500, 200_000
#: Deployments that run; every fifth of them waits for an approval.
RUNNING = 40
#: One application in so many has an invalid configuration (they fit on one page), or differs from Git.
INVALID_SHARE, DRIFT_SHARE = 250, 40
FIRST_ERROR = 150_000
#: The application with the tree, and the deployment and stage with the log.
TREE, LONG_LOG, LONG_STAGE = "a0", "long-log", "stage-1"
_SERVICES = (
    "cart",
    "checkout",
    "billing",
    "search",
    "catalog",
    "identity",
    "mail",
    "ledger",
    "images",
    "quota",
)
_KINDS: Sequence[ApplicationKind.ValueType] = (KUBERNETES, KUBERNETES, TERRAFORM, LAMBDA, ECS)
_STAGES = ("K8S_CANARY_ROLLOUT", "ANALYSIS", "WAIT_APPROVAL", "K8S_PRIMARY_ROLLOUT", "K8S_CANARY_CLEAN")
_MESSAGES = (
    "Use the faster checkout",
    "fix: do not lose the basket at a new sign-in (#4812)",
    "Raise the memory of the worker to 1 GiB",
    "Bump the base image to bookworm-20261101",
)


def application_name(number: int) -> str:
    return f"{_SERVICES[number % len(_SERVICES)]}-{number}"


async def insert_project(plane: ControlPlane) -> PipedToken:
    """Must be called before the console is opened: nothing is announced. Returns the agent's credentials."""
    store = plane.server.services.store
    piped_id, key = await plane.register_piped("production")
    now = int(time.time())
    await insert(store, [_application(number, piped_id, now) for number in range(APPLICATIONS)])
    await insert(store, [_deployment(number, piped_id, now) for number in range(DEPLOYMENTS)])
    failed = _failed_deployment(piped_id, now)
    await insert(store, [failed])
    await plane.server.services.logs.checkpoint(failed, LONG_STAGE, 0, _log_lines(now), completed=True)
    token = PipedToken(project_id=PROJECT, piped_id=piped_id, key=key)
    agent = await connect(plane.address, token, Transport(insecure=True))
    try:
        await agent.call(agent.piped.ReportApplicationLiveState, _live_state(piped_id, now))
    finally:
        await agent.close()
    return token


def _application(number: int, piped_id: str, now: int) -> Application:
    running = number < RUNNING
    status = ApplicationSyncStatus.SYNCED
    if number % INVALID_SHARE == 3:
        status = ApplicationSyncStatus.INVALID_CONFIG
    elif number % DRIFT_SHARE == 7:
        status = ApplicationSyncStatus.OUT_OF_SYNC
    last = ApplicationDeploymentReference(
        deployment_id=f"d{number}",
        trigger=_trigger(number, now),
        version=f"v1.{number % 90}.0",
        started_at=now - number,
    )
    return Application(
        id=f"a{number}",
        name=application_name(number),
        project_id=PROJECT,
        piped_id=piped_id,
        kind=KUBERNETES if number == 0 else _KINDS[number % len(_KINDS)],
        git_path=_git_path(number),
        platform_provider="production",
        description="Serves the shop's pages in all regions" if number % 3 == 0 else "",
        labels={"env": f"e{number % 10}", "team": f"t{number % 50}", "tier": str(number % 3)},
        most_recently_successful_deployment=None if running else last,
        most_recently_triggered_deployment=last,
        sync_state=ApplicationSyncState(status=status, timestamp=now),
        deploying=running,
        created_at=now - 10_000_000,
        updated_at=now - number,
    )


def _git_path(number: int) -> ApplicationGitPath:
    repository = ApplicationGitRepository(
        id="shop", remote="https://git.example/shop/deploy.git", branch="main"
    )
    return ApplicationGitPath(
        repo=repository, path=f"services/{application_name(number)}", config_filename="app.pipecd.yaml"
    )


def _trigger(number: int, now: int) -> DeploymentTrigger:
    commit = Commit(
        hash=f"{number * 2654435761 % 2**64:016x}",
        message=_MESSAGES[number % len(_MESSAGES)],
        author=("ada", "grace", "margaret")[number % 3],
        branch="main",
        created_at=now - number,
    )
    return DeploymentTrigger(commit=commit, timestamp=now - number)


def _deployment(number: int, piped_id: str, now: int) -> Deployment:
    """Those of the first applications run, and wait for an approval; every ninth other one has failed."""
    application, created_at = number % APPLICATIONS, now - number * 30
    running = number < RUNNING
    status = DeploymentStatus.DEPLOYMENT_SUCCESS
    if running:
        status = DeploymentStatus.DEPLOYMENT_RUNNING
    elif number % 9 == 0:
        status = DeploymentStatus.DEPLOYMENT_FAILURE
    return Deployment(
        id=f"d{number}",
        application_id=f"a{application}",
        application_name=application_name(application),
        project_id=PROJECT,
        piped_id=piped_id,
        kind=KUBERNETES,
        git_path=_git_path(application),
        labels={"env": f"e{application % 10}", "team": f"t{application % 50}"},
        trigger=_trigger(number, created_at),
        summary="Sync with the pipeline: image shop/web:v1.4.1 → v1.5.0",
        status=status,
        stages=_stages(2 if running else len(_STAGES), created_at),
        created_at=created_at,
        updated_at=created_at + 240,
        completed_at=0 if running else created_at + 240,
    )


def _stages(finished: int, now: int) -> list[PipelineStage]:
    """Of which so many have finished; the next one runs."""
    return [
        PipelineStage(
            id=f"stage-{index}",
            name=name,
            index=index,
            visible=True,
            requires=[f"stage-{index - 1}"] if index else [],
            status=_stage_status(index, finished),
            metadata={"pipecd/started-at": str(now + 30 * index), "canary-percentage": "20"},
            created_at=now,
            updated_at=now + 30 * index,
            completed_at=now + 30 * index + 30 if index < finished else 0,
        )
        for index, name in enumerate(_STAGES)
    ]


def _stage_status(index: int, finished: int) -> StageStatus.ValueType:
    if index < finished:
        return StageStatus.STAGE_SUCCESS
    return StageStatus.STAGE_RUNNING if index == finished else StageStatus.STAGE_NOT_STARTED_YET


def _failed_deployment(piped_id: str, now: int) -> Deployment:
    """Its stage with the long log is the last one that ran."""
    deployment = _deployment(RUNNING, piped_id, now)
    deployment.id, deployment.status = LONG_LOG, DeploymentStatus.DEPLOYMENT_FAILURE
    stages = _stages(1, now - 600)
    stages[1].status, stages[1].completed_at = StageStatus.STAGE_FAILURE, now
    del deployment.stages[:]
    deployment.stages.extend(stages)
    return deployment


def _log_lines(now: int) -> list[LogBlock]:
    """Lines as programs write them; every tenth one has colours."""
    source = random.Random(7)
    lines = []
    for number in range(1, LINES + 1):
        level = "\x1b[33mWARN\x1b[0m" if number % 10 == 0 else "INFO"
        text = (
            f"{level} request {number} GET /v1/{source.choice(_SERVICES)}/items/{source.randrange(10**6)} "
            f"status={source.choice((200, 200, 200, 204, 301, 404))} duration={source.random() * 90:.1f}ms"
        )
        severity = ERROR if number in (FIRST_ERROR, LINES) else INFO
        lines.append(
            LogBlock(index=number, log=text, severity=severity, created_at=now - 600 + number // 400)
        )
    return lines


def _live_state(piped_id: str, now: int) -> ReportApplicationLiveStateRequest:
    application = ApplicationValue(
        id=TREE,
        name=application_name(0),
        piped_id=piped_id,
        project_id=PROJECT,
        kind="KUBERNETES",
        git_path=GitPath(repo_id="shop", path=f"services/{application_name(0)}"),
    )
    return ReportApplicationLiveStateRequest(snapshot=snapshot_to(application, _resources(now), now=now))


def _resources(now: int) -> list[Resource]:
    """Deployments with a Service, settings and pods: most have 6 pods, one has 200."""
    resources: list[Resource] = []

    def add(
        identity: str, kind: str, name: str, api: str, *parents: str, health: Health = Health.HEALTHY
    ) -> None:
        resources.append(
            Resource(
                id=identity, kind=kind, name=name, parents=parents, health=health, created_at=now - 3600,
                api_version=api, namespace="shop",
            )
        )  # fmt: skip

    for number in range(RESOURCES):
        health = Health.UNHEALTHY if number == 7 else Health.HEALTHY
        name = f"service-{number}"
        add(f"d{number}", "Deployment", name, "apps/v1", health=health)
        add(f"s{number}", "Service", name, "v1")
        add(f"c{number}", "ConfigMap", f"{name}-env", "v1")
        add(f"r{number}", "ReplicaSet", f"{name}-6f7d", "apps/v1", f"d{number}", health=health)
        for pod in range(200 if number == 3 else 6):
            add(f"p{number}-{pod}", "Pod", f"{name}-6f7d-{pod:04x}", "v1", f"r{number}")
        if len(resources) >= RESOURCES:
            break
    return resources[:RESOURCES]
