"""Reports contain no secrets, in any field."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from grpc import aio

from pipecd.client import Client, Transport
from pipecd.clock import SYSTEM_CLOCK
from pipecd.model.deployment import Stage, Version, VersionKind
from pipecd.model.status import DeploymentStatus, StageStatus, SyncStatus
from pipecd.piped.session.report import Reporter
from pipecd.secrets import Redactor
from tests.model.samples import deployment
from tests.piped.recorder import TOKEN

SECRET = "correct horse/battery+staple"
SPELLINGS = [SECRET, base64.b64encode(SECRET.encode()).decode(), quote(SECRET, safe="")]
TEXT = "it says " + " ".join(SPELLINGS)


class RecordingHandler(grpc.GenericRpcHandler):
    """Accepts every call and records the bytes of its request."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        name = handler_call_details.method.rpartition("/")[2]

        async def record(request: bytes, _: Any) -> bytes:
            self.received[name] = self.received.get(name, b"") + request
            return b""

        return grpc.unary_unary_rpc_method_handler(record)


@pytest.fixture
async def recording() -> AsyncIterator[tuple[RecordingHandler, Reporter]]:
    handler, server = RecordingHandler(), aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = Client(f"127.0.0.1:{port}", TOKEN, Transport(insecure=True))
    yield handler, Reporter(client, Redactor([SECRET]), SYSTEM_CLOCK)
    await client.close()
    await server.stop(grace=None)


async def test_no_field_of_a_report_contains_a_secret(recording: tuple[RecordingHandler, Reporter]) -> None:
    handler, reporter = recording
    pending = deployment()
    stage = Stage(id="s", name="SCRIPT_RUN", index=0)
    version = Version(kind=VersionKind.CONTAINER_IMAGE, version=TEXT, name=TEXT, url=TEXT)
    planned = replace(
        pending,
        status=DeploymentStatus.PLANNED,
        reason=TEXT,
        summary=TEXT,
        stages=(stage,),
        versions=(version,),
    )
    await reporter.report_changes(pending, planned)
    failed = replace(stage, status=StageStatus.FAILURE, reason=TEXT, metadata={"saved": TEXT})
    running = replace(planned, status=DeploymentStatus.RUNNING, stages=(failed,), shared={"shared": TEXT})
    await reporter.report_changes(planned, running)
    await reporter.report_changes(running, replace(running, status=DeploymentStatus.FAILURE, reason=TEXT))
    await reporter.report_sync_state("a", SyncStatus.OUT_OF_SYNC, short=TEXT, reason=TEXT, at=1)
    await reporter.report_command_succeeded("c", metadata={"message": TEXT})
    await reporter.report_command_failed("c", TEXT)
    assert handler.received.keys() == {
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
    for name, sent in handler.received.items():
        assert not [spelling for spelling in SPELLINGS if spelling.encode() in sent], name
    assert handler.received["ReportDeploymentPlanned"].count(b"it says ******") == 5
