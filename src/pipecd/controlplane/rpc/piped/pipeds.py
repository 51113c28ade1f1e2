"""PipedService: metadata and metrics of the agent itself, and the version it should run."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.feed import BY_AGENT
from pipecd.controlplane.store.kinds import STATISTICS
from pipecd.schema.agent.pipeds_pb2 import (
    GetDesiredVersionRequest,
    GetDesiredVersionResponse,
    ReportPipedMetaRequest,
    ReportPipedMetaResponse,
    ReportStatRequest,
    ReportStatResponse,
)
from pipecd.schema.model.piped_pb2 import Piped

#: Interval between an agent's metrics reports, in seconds.
REPORT_INTERVAL = 60


async def report_stat(services: Services, agent: Agent, request: ReportStatRequest) -> ReportStatResponse:
    await services.store.put_metadata(
        STATISTICS, agent.piped_id, agent.project_id, request.piped_stats, by=agent.actor
    )
    return ReportStatResponse(report_interval=REPORT_INTERVAL)


async def report_meta(
    services: Services, agent: Agent, request: ReportPipedMetaRequest
) -> ReportPipedMetaResponse:
    def change(record: Piped) -> None:
        record.version, record.package = request.version, request.package
        record.config = request.config
        record.secret_encryption.CopyFrom(request.secret_encryption)
        del record.cloud_providers[:]
        del record.platform_providers[:]
        record.platform_providers.extend(request.platform_providers)
        record.platform_providers.extend(
            Piped.PlatformProvider(name=provider.name, type=provider.type)
            for provider in request.cloud_providers
        )
        del record.plugins[:]
        record.plugins.extend(request.plugins)
        del record.unavailable_platforms[:]
        record.unavailable_platforms.extend(request.unavailable_platforms)
        del record.provider_notices[:]
        record.provider_notices.extend(request.provider_notices)
        del record.repositories[:]
        record.repositories.extend(request.repositories)
        record.started_at = record.updated_at = services.now()

    piped = (
        await services.store.update(Piped, agent.piped_id, change, by=agent.actor, detail=BY_AGENT)
    ).message
    return ReportPipedMetaResponse(name=piped.name, web_base_url=services.address)


async def get_desired_version(
    services: Services, agent: Agent, _: GetDesiredVersionRequest
) -> GetDesiredVersionResponse:
    piped = await services.credentials.get(Piped, agent.piped_id)
    return GetDesiredVersionResponse(version=piped.desired_version, allow_downgrade=piped.allow_downgrade)


HANDLERS: Mapping[str, Handler] = {
    "ReportStat": report_stat,
    "ReportPipedMeta": report_meta,
    "GetDesiredVersion": get_desired_version,
}
