"""Writes a second of the control plane's store, each with its audit row, by 16 concurrent callers.

The job that adds rows to the hash chain runs meanwhile, as in a server.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.figures import report_value
from pipecd.controlplane.store import Store, audit_chain
from pipecd.model.actor import Actor, ActorKind
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from tests.contracts import postgres

SECONDS, CALLERS, STAGES = 4.0, 16, 5
AGENT = Actor(
    kind=ActorKind.PIPED,
    id="5b1c6f0e-5a43-4c51-9d0d-6d3b7f3c1a11",
    name="home",
    action="/grpc.service.pipedservice.PipedService/ReportStageStatusChanged",
    project_id="shop",
    address="10.1.2.3",
)


async def run(folder: Path) -> None:
    await _measure("SQLite", f"sqlite:///{folder / 'pipecd.db'}")
    if postgres.binary("initdb") is None:
        return
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as cluster, postgres.cluster(Path(cluster)) as url:
        await _measure("PostgreSQL", url)


async def _measure(name: str, url: str) -> None:
    store = await Store.open(url)
    await asyncio.gather(*(store.create(_deployment(f"d{n}"), by=AGENT) for n in range(CALLERS)))
    updates = await _count(store, lambda caller, turn: _report_stage(store, f"d{caller}", turn))
    report_value(f"{name}: stage reports stored ({CALLERS} at a time)", updates / SECONDS, "/s")
    created = await _count(
        store, lambda caller, turn: store.create(_deployment(f"{caller}-{turn}"), by=AGENT)
    )
    report_value(f"{name}: deployments created ({CALLERS} at a time)", created / SECONDS, "/s")
    await store.close()


async def _count(store: Store, write: Callable[[int, int], Awaitable[object]]) -> int:
    """How many writes end within `SECONDS`."""
    until = time.monotonic() + SECONDS
    sealing = asyncio.create_task(_seal_every_second(store))

    async def call(caller: int) -> int:
        turn = 0
        while time.monotonic() < until:
            await write(caller, turn)
            turn += 1
        return turn

    try:
        return sum(await asyncio.gather(*(call(caller) for caller in range(CALLERS))))
    finally:
        sealing.cancel()
        await asyncio.wait([sealing])


async def _seal_every_second(store: Store) -> None:
    while True:
        await asyncio.sleep(1.0)
        await audit_chain.seal(store.database)


async def _report_stage(store: Store, id: str, turn: int) -> None:
    def change(record: Deployment) -> None:
        stage = record.stages[turn % STAGES]
        stage.status = StageStatus.STAGE_RUNNING if turn // STAGES % 2 else StageStatus.STAGE_SUCCESS
        stage.status_reason = f"report {turn}"

    await store.update(Deployment, id, change, by=AGENT)


def _deployment(id: str) -> Deployment:
    stages = [PipelineStage(id=f"stage-{n}", name="SCRIPT_RUN", index=n) for n in range(STAGES)]
    pending = DeploymentStatus.DEPLOYMENT_PENDING
    return Deployment(
        id=id, application_id=id, project_id="shop", piped_id="home", status=pending, stages=stages
    )
