"""Prometheus and servers with its API. Source: https://prometheus.io/docs/prometheus/latest/querying/api/"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.analysis.http import json_answer, request
from pipecd.config.analysis import PrometheusConfig
from pipecd.config.named_file import read_named_file
from pipecd.errors import Refused, Temporary
from pipecd.model.analysis import Point

#: Between two values (seconds), and values of a series: Prometheus refuses more than 11,000.
STEP, MAX_VALUES = 60.0, 10_000


async def query_range(config: PrometheusConfig, query: str, start: float, end: float) -> Sequence[Point]:
    """The values of all series. NaN, which stands for a division by zero, is no value."""
    headers, auth = credentials(config)
    return await query_range_at(config.address, query, start, end, headers=headers, auth=auth)


def credentials(config: PrometheusConfig) -> tuple[Mapping[str, str], tuple[str, str] | None]:
    """Headers and basic authentication. Raises ConfigError."""
    headers = dict(config.headers)
    if config.bearer_token_file:
        headers["Authorization"] = f"Bearer {_content(config.bearer_token_file, 'bearerTokenFile')}"
    if config.username_file and config.password_file:
        return headers, (
            _content(config.username_file, "usernameFile"),
            _content(config.password_file, "passwordFile"),
        )
    return headers, None


def _content(path: str, key: str) -> str:
    return read_named_file(path, f"{key} of an analysis provider")


async def query_range_at(
    address: str,
    query: str,
    start: float,
    end: float,
    *,
    headers: Mapping[str, str],
    auth: tuple[str, str] | None = None,
) -> Sequence[Point]:
    url = f"{address.rstrip('/')}/api/v1/query_range"
    step = max(min(STEP, end - start), (end - start) / MAX_VALUES, 0.001)
    form = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
    answer = await request("POST", url, headers=headers, data=form, auth=auth)
    if answer.status in (405, 501):
        answer = await request("GET", url, headers=headers, params=form, auth=auth)
    return _points(json_answer("Prometheus", answer))


def _points(content: Any) -> Sequence[Point]:
    if not isinstance(content, Mapping) or content.get("status") != "success":
        raise Temporary("Prometheus sent an answer that is none of its API")
    result = content.get("data", {}).get("result", [])
    try:
        points = [
            Point(float(at), float(value)) for series in result for at, value in series.get("values", [])
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused("Prometheus sent values that are no numbers", remedy="correct the query") from error
    return [point for point in points if not math.isnan(point.value)]
