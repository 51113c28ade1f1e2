"""The first page of 10,000 applications and of 100,000 deployments, with the console's requests."""

import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.figures import report
from pipecd.controlplane.store import Store, kinds
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.stage_pb2 import PipelineStage
from tests.controlplane.server_fixture import PROJECT, control_plane

APPLICATIONS, DEPLOYMENTS, CALLS = 10_000, 100_000, 100
BATCH = 5_000


async def run(folder: Path) -> None:
    async with control_plane(folder) as plane:
        store = plane.server.services.store
        await _insert(store, [_application(number) for number in range(APPLICATIONS)])
        for start in range(0, DEPLOYMENTS, BATCH):
            await _insert(store, [_deployment(number) for number in range(start, start + BATCH)])
        searches: list[tuple[str, str, dict[str, Any]]] = [
            (f"{APPLICATIONS} applications: first page", "PageApplications", {}),
            (f"{APPLICATIONS} applications: a search", "PageApplications", {"search": "shop-99"}),
            (f"{APPLICATIONS} applications: a label", "PageApplications", {"labels": {"env": "e3"}}),
            (f"{DEPLOYMENTS} deployments: first page", "PageDeployments", {}),
            (f"{DEPLOYMENTS} deployments: of a status", "PageDeployments", {"statuses": [5]}),
            (f"{DEPLOYMENTS} deployments: of an application", "PageDeployments", {"application_id": "a7"}),
        ]
        for name, method, fields in searches:
            times = []
            for _ in range(CALLS):
                started = time.monotonic()
                await plane.console.call(method, **fields)
                times.append((time.monotonic() - started) * 1000)
            report(name, times, "ms", target=200.0)


def _application(number: int) -> Application:
    labels = {"env": f"e{number % 10}", "team": f"t{number % 50}"}
    return Application(
        id=f"a{number}",
        name=f"shop-{number}",
        project_id=PROJECT,
        piped_id="p",
        labels=labels,
        kind=TERRAFORM,
    )


def _deployment(number: int) -> Deployment:
    stages = [PipelineStage(id=f"stage-{index}", name="SCRIPT_RUN", index=index) for index in range(4)]
    status = DeploymentStatus.DEPLOYMENT_FAILURE if number % 9 == 0 else DeploymentStatus.DEPLOYMENT_SUCCESS
    return Deployment(
        id=f"d{number}",
        application_id=f"a{number % APPLICATIONS}",
        application_name=f"shop-{number % APPLICATIONS}",
        project_id=PROJECT,
        piped_id="p",
        status=status,
        stages=stages,
        kind=TERRAFORM,
    )


async def _insert(store: Store, messages: list[Any]) -> None:
    """Like `Store.create`, in one transaction."""
    kind = kinds.KINDS[type(messages[0])]
    now = time.time_ns() // 1000
    rows = [
        {
            "id": message.id,
            "version": 1,
            "project_id": PROJECT,
            "data": message.SerializeToString(),
            "touched": now + index,
            **kind.columns(message),
        }
        for index, message in enumerate(messages)
    ]
    async with store.database.write() as connection:
        await connection.execute(sa.insert(kind.table), rows)
