"""Amazon CloudWatch Logs, by queries of Logs Insights.

Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartQuery.html
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.analysis.cloudwatch import provider_of
from pipecd.config.analysis import CloudWatchConfig
from pipecd.errors import ConfigError, Temporary
from pipecd.platforms.aws import client

#: Seconds between two requests for the result of a query. The caller bounds the time in all.
POLL_INTERVAL = 0.5
#: For the request that ends a query whose result is not wanted any more (seconds).
_STOP_TIMEOUT = 5.0
_UNFINISHED = frozenset({"Scheduled", "Running", "Unknown"})


async def query(
    config: CloudWatchConfig,
    query: str,
    start: float,
    end: float,
    *,
    limit: int,
    poll_interval: float = POLL_INTERVAL,
) -> Sequence[str]:
    """The log events that a query finds, at most `limit`: their messages, or the fields that it selects."""
    if not config.log_groups:
        raise ConfigError(
            "the analysis provider of type CLOUDWATCH has no log groups",
            remedy="add config.logGroups to it in the agent's configuration",
        )
    async with client("logs", provider_of(config)) as sdk:
        try:
            response = await sdk.start_query(
                logGroupNames=list(config.log_groups),
                startTime=int(start),
                endTime=int(end),
                queryString=query,
                limit=limit,
            )
        except sdk.exceptions.LimitExceededException as error:
            raise Temporary("CloudWatch Logs runs as many queries as the account may run") from error
        rows = await _wait(sdk, response["queryId"], poll_interval)
    return [_line(row) for row in rows[:limit]]


async def _wait(sdk: Any, query_id: str, poll_interval: float) -> Sequence[Sequence[Mapping[str, str]]]:
    """The rows of the finished query. It is ended if it is not waited for: an account may run 30."""
    status = "Scheduled"
    try:
        while True:
            response = await sdk.get_query_results(queryId=query_id)
            status = response.get("status", "Unknown")
            if status == "Complete":
                return list(response.get("results", ()))
            if status not in _UNFINISHED:
                raise Temporary(f"CloudWatch Logs ended the query: {status}")
            await asyncio.sleep(poll_interval)
    finally:
        if status in _UNFINISHED:
            # The query ends by itself otherwise.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_STOP_TIMEOUT):
                    await sdk.stop_query(queryId=query_id)


def _line(row: Sequence[Mapping[str, str]]) -> str:
    fields = {field.get("field", ""): field.get("value", "") for field in row}
    if "@message" in fields:
        return fields["@message"].strip()
    return ", ".join(f"{name}: {value}" for name, value in fields.items() if name != "@ptr")
