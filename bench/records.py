"""Records for benchmarks, inserted without the store's overhead."""

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pipecd.controlplane.store import Store, kinds
from pipecd.controlplane.store.statements import Connection
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.stage_pb2 import PipelineStage
from tests.controlplane.server_fixture import PROJECT

_BATCH = 5_000


def application(number: int, piped_id: str = "p") -> Application:
    labels = {"env": f"e{number % 10}", "team": f"t{number % 50}"}
    return Application(
        id=f"a{number}",
        name=f"shop-{number}",
        project_id=PROJECT,
        piped_id=piped_id,
        labels=labels,
        kind=TERRAFORM,
    )


def finished_deployment(number: int, applications: int) -> Deployment:
    """Of one of so many `applications`; every ninth has failed."""
    status = DeploymentStatus.DEPLOYMENT_FAILURE if number % 9 == 0 else DeploymentStatus.DEPLOYMENT_SUCCESS
    return Deployment(
        id=f"d{number}",
        application_id=f"a{number % applications}",
        application_name=f"shop-{number % applications}",
        project_id=PROJECT,
        piped_id="p",
        status=status,
        stages=stages(4),
        kind=TERRAFORM,
    )


def stages(count: int, **fields: Any) -> list[PipelineStage]:
    return [PipelineStage(id=f"stage-{n}", name="SCRIPT_RUN", index=n, **fields) for n in range(count)]


async def insert(store: Store, messages: Sequence[Any]) -> None:
    """Like `Store.create`, without change feed and audit log."""
    kind = kinds.KINDS[type(messages[0])]
    statement = sa.insert(kind.table).inline()
    for start in range(0, len(messages), _BATCH):
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
            for index, message in enumerate(messages[start : start + _BATCH])
        ]

        def write(connection: Connection, rows: Sequence[dict[str, Any]] = rows) -> None:
            for row in rows:
                connection.execute(statement, row)

        await store.database.write(write)
