"""No report carries a secret, in whichever of its fields it came."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from grpc import aio

from pipecd.client import Client, Transport
from pipecd.model.deployment import Stage, Version, VersionKind
from pipecd.model.status import DeploymentStatus, StageStatus, SyncStatus
from pipecd.piped.session.report import Reports
from pipecd.secrets import Redactor
from tests.model.samples import deployment
from tests.piped.recorder import TOKEN

SECRET = "correct horse/battery+staple"
SPELLINGS = [SECRET, base64.b64encode(SECRET.encode()).decode(), quote(SECRET, safe="")]
TOLD = "it says " + " ".join(SPELLINGS)


class Everything(grpc.GenericRpcHandler):
    """A server that takes every call and remembers its bytes."""

    def __init__(self) -> None:
        self.heard: dict[str, bytes] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        name = handler_call_details.method.rpartition("/")[2]

        async def take(request: bytes, _: Any) -> bytes:
            self.heard[name] = self.heard.get(name, b"") + request
            return b""

        return grpc.unary_unary_rpc_method_handler(take)


@pytest.fixture
async def listening() -> AsyncIterator[tuple[Everything, Reports]]:
    everything, server = Everything(), aio.server()
    server.add_generic_rpc_handlers((everything,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = Client(f"127.0.0.1:{port}", TOKEN, Transport(insecure=True))
    yield everything, Reports(client, Redactor([SECRET]))
    await client.close()
    await server.stop(grace=None)


async def test_no_field_of_a_report_holds_a_secret(listening: tuple[Everything, Reports]) -> None:
    everything, reports = listening
    pending = deployment()
    stage = Stage(id="s", name="SCRIPT_RUN", index=0)
    version = Version(kind=VersionKind.CONTAINER_IMAGE, version=TOLD, name=TOLD, url=TOLD)
    planned = replace(
        pending,
        status=DeploymentStatus.PLANNED,
        reason=TOLD,
        summary=TOLD,
        stages=(stage,),
        versions=(version,),
    )
    await reports.record(pending, planned)
    failed = replace(stage, status=StageStatus.FAILURE, reason=TOLD, metadata={"saved": TOLD})
    running = replace(planned, status=DeploymentStatus.RUNNING, stages=(failed,), shared={"shared": TOLD})
    await reports.record(planned, running)
    await reports.record(running, replace(running, status=DeploymentStatus.FAILURE, reason=TOLD))
    await reports.sync_state("a", SyncStatus.OUT_OF_SYNC, short=TOLD, reason=TOLD)
    await reports.handled("c", metadata={"told": TOLD})
    await reports.refused("c", TOLD)
    assert everything.heard.keys() == {
        "ReportDeploymentPlanned",
        "SaveDeploymentSharedMetadata",
        "SaveStageMetadata",
        "ReportStageStatusChanged",
        "ReportDeploymentStatusChanged",
        "ReportApplicationDeployingStatus",
        "ReportDeploymentCompleted",
        "ReportApplicationSyncState",
        "ReportCommandHandled",
    }
    for name, sent in everything.heard.items():
        assert not [one for one in SPELLINGS if one.encode() in sent], name
    assert everything.heard["ReportDeploymentPlanned"].count(b"it says ******") == 5
