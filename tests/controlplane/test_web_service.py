"""WebService, the service of PipeCD's console: every call of it is answered."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from grpc import aio

from pipecd.controlplane.rpc.table import WEB
from pipecd.schema.model.chain_pb2 import ChainStatus, DeploymentChain
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.controlplane.server_fixture import control_plane
from tests.controlplane.test_audit import METHODS, open_team
from tests.controlplane.writing_calls import NOT_AUDITED, TEAM, WRITES

#: The calls that change nothing, with a minimal request that is answered.
READS: dict[str, dict[str, Any]] = {
    "ListPipeds": {},
    "GetPiped": {"piped_id": "home"},
    "ListReleasedVersions": {},
    "ListDeprecatedNotes": {"project_id": TEAM},
    "ListApplications": {},
    "GetApplication": {"application_id": "app"},
    "GenerateApplicationSealedSecret": {"piped_id": "spare", "data": "secret"},
    "ListUnregisteredApplications": {},
    "ListDeployments": {"page_size": 1},
    "GetDeployment": {"deployment_id": "running"},
    "GetStageLog": {"deployment_id": "pending", "stage_id": "analysis"},
    "ListDeploymentTraces": {"page_size": 1},
    "GetApplicationLiveState": {"application_id": "app"},
    "GetProject": {},
    "GetMe": {},
    "GetCommand": {"command_id": "command"},
    "ListAPIKeys": {},
    "GetInsightData": {"range_from": 1_700_000_000, "range_to": 1_700_086_400},
    "GetInsightApplicationCount": {},
    "ListDeploymentChains": {"page_size": 1},
    "GetDeploymentChain": {"deployment_chain_id": "chain"},
    "ListEvents": {"page_size": 1},
}
#: Called with a minimal request in test_audit.py, which expects a row of the audit log from each.
WRITING = {key.partition("/")[2] for key in WRITES if key.startswith("WebService/")}


def test_all_calls_of_the_schema_are_called_by_a_test() -> None:
    names = [method.name for method in WEB.methods]
    assert len(names) == 51
    assert sorted([*READS, *WRITING]) == sorted(names)


async def test_every_reading_call_is_answered(tmp_path: Path) -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()

    def set_public_key(record: Piped) -> None:
        record.secret_encryption.type = "KEY_PAIR"
        record.secret_encryption.public_key = public.public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ).decode()

    # Without jobs, which would change the records.
    async with (
        control_plane(tmp_path, with_jobs=False) as plane,
        aio.insecure_channel(plane.address) as channel,
    ):
        team = await open_team(plane, channel)
        store = team.services.store
        await store.update(Piped, "spare", set_public_key, by=TESTER)
        chain = DeploymentChain(id="chain", project_id=TEAM, status=ChainStatus.DEPLOYMENT_CHAIN_RUNNING)
        await store.create(chain, by=TESTER)
        for key in ("PipedService/ReportStageLogs", "PipedService/ReportApplicationLiveState"):
            await team.call(METHODS[key], dict(NOT_AUDITED[key]))
        failures = {}
        for name, fields in READS.items():
            try:
                await team.call(METHODS[f"WebService/{name}"], fields)
            except aio.AioRpcError as error:
                failures[name] = f"{error.code().name}: {error.details()}"
        assert failures == {}
