"""Google Cloud Monitoring, by its Prometheus API.

Source: https://cloud.google.com/stackdriver/docs/managed-prometheus/query-api-ui
"""

import asyncio
from collections.abc import Sequence

from pipecd.analysis.prometheus import query_range_at
from pipecd.config.analysis import CloudMonitoringConfig
from pipecd.errors import ConfigError
from pipecd.google_credentials import GoogleCredentials
from pipecd.model.analysis import Point

ENDPOINT = "https://monitoring.googleapis.com"


def credentials_of(config: CloudMonitoringConfig) -> GoogleCredentials:
    return GoogleCredentials("Cloud Monitoring or Logging cannot be queried", config.service_account_file)


def require_project(config: CloudMonitoringConfig) -> None:
    if not config.project:
        raise ConfigError(
            "the analysis provider of type STACKDRIVER has no project",
            remedy="add config.project to it in the agent's configuration",
        )


async def query_range(
    config: CloudMonitoringConfig, credentials: GoogleCredentials, query: str, start: float, end: float
) -> Sequence[Point]:
    """The values of a PromQL query."""
    require_project(config)
    headers = await asyncio.to_thread(credentials.headers)
    address = f"{config.endpoint or ENDPOINT}/v1/projects/{config.project}/location/global/prometheus"
    return await query_range_at(address, query, start, end, headers=headers)
