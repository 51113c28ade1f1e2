"""Datadog's metrics. Source: https://docs.datadoghq.com/api/latest/metrics/#query-timeseries-points"""

from collections.abc import Mapping, Sequence

from pipecd.analysis.http import json_answer, request
from pipecd.config.analysis import DatadogConfig
from pipecd.config.named_file import read_named_file
from pipecd.config.piped import decode_base64
from pipecd.errors import Refused
from pipecd.model.analysis import Point


async def query(config: DatadogConfig, query: str, start: float, end: float) -> Sequence[Point]:
    """The values of all series. A point without a value is left out."""
    site = config.address.rstrip("/")
    base = site if site.startswith(("http://", "https://")) else f"https://api.{site}"
    headers = {
        "DD-API-KEY": _key(config.api_key_file, config.api_key_data, "apiKey"),
        "DD-APPLICATION-KEY": _key(
            config.application_key_file, config.application_key_data, "applicationKey"
        ),
    }
    params = {"from": str(int(start)), "to": str(int(end)), "query": query}
    answer = await request("GET", f"{base}/api/v1/query", headers=headers, params=params)
    content = json_answer("Datadog", answer)
    if not isinstance(content, Mapping) or content.get("status") == "error":
        words = content.get("error", "") if isinstance(content, Mapping) else ""
        raise Refused(f"Datadog refused the query: {str(words)[:300]}", remedy="correct the query")
    try:
        return [
            Point(at / 1000, float(value))
            for series in content.get("series") or []
            for at, value in series.get("pointlist") or []
            if value is not None
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused("Datadog sent values that are no numbers", remedy="correct the query") from error


def _key(file: str, data: str, name: str) -> str:
    if data:
        return decode_base64(data, f"{name}Data of an analysis provider").strip()
    return read_named_file(file, f"{name}File of an analysis provider")
