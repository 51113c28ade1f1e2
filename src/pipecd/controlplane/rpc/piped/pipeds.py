"""PipedService: what an agent tells of itself."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store.feed import BY_AGENT
from pipecd.schema.agent.pipeds_pb2 import (
    GetDesiredVersionRequest,
    GetDesiredVersionResponse,
    ReportPipedMetaRequest,
    ReportPipedMetaResponse,
    ReportStatRequest,
    ReportStatResponse,
)
from pipecd.schema.model.piped_pb2 import Piped

#: Seconds between an agent's reports of its figures.
REPORT_INTERVAL = 60


async def report_stat(plane: Plane, agent: Agent, request: ReportStatRequest) -> ReportStatResponse:
    await plane.store.put_fact("stat", agent.piped_id, agent.project_id, request.piped_stats)
    return ReportStatResponse(report_interval=REPORT_INTERVAL)


async def report_meta(plane: Plane, agent: Agent, request: ReportPipedMetaRequest) -> ReportPipedMetaResponse:
    def change(record: Piped) -> None:
        record.version = request.version
        record.config = request.config
        record.secret_encryption.CopyFrom(request.secret_encryption)
        del record.cloud_providers[:]
        del record.platform_providers[:]
        record.platform_providers.extend(request.platform_providers)
        record.platform_providers.extend(
            Piped.PlatformProvider(name=one.name, type=one.type) for one in request.cloud_providers
        )
        del record.plugins[:]
        record.plugins.extend(request.plugins)
        del record.repositories[:]
        record.repositories.extend(request.repositories)
        record.started_at = record.updated_at = plane.now()

    piped = (await plane.store.update(Piped, agent.piped_id, change, BY_AGENT)).message
    return ReportPipedMetaResponse(name=piped.name, web_base_url=plane.address)


async def get_desired_version(
    plane: Plane, agent: Agent, _: GetDesiredVersionRequest
) -> GetDesiredVersionResponse:
    piped = await plane.credentials.get(Piped, agent.piped_id)
    return GetDesiredVersionResponse(version=piped.desired_version)


HANDLERS: Mapping[str, Handler] = {
    "ReportStat": report_stat,
    "ReportPipedMeta": report_meta,
    "GetDesiredVersion": get_desired_version,
}
