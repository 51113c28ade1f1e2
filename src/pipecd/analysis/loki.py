"""Logs of Grafana Loki. Source: https://grafana.com/docs/loki/latest/reference/loki-http-api/"""

from collections.abc import Mapping, Sequence

from pipecd.analysis.http import json_answer, request
from pipecd.analysis.prometheus import credentials
from pipecd.config.analysis import LokiConfig
from pipecd.errors import Refused


async def query_range(
    config: LokiConfig, query: str, start: float, end: float, *, limit: int
) -> Sequence[str]:
    """The lines that match a LogQL query, at most `limit`."""
    headers, auth = credentials(config)
    params = {
        "query": query,
        "start": str(int(start * 1e9)),
        "end": str(int(end * 1e9)),
        "limit": str(limit),
    }
    url = f"{config.address.rstrip('/')}/loki/api/v1/query_range"
    content = json_answer("Loki", await request("GET", url, headers=headers, params=params, auth=auth))
    data = content.get("data") if isinstance(content, Mapping) else None
    if not isinstance(data, Mapping) or data.get("resultType") != "streams":
        raise Refused("the query does not return log lines", remedy="use a LogQL query of log lines")
    try:
        return [str(line) for stream in data["result"] for _, line in stream["values"]][:limit]
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("Loki sent an answer that is none of its API", remedy="check its address") from error
