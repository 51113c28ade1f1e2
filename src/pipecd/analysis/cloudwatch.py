"""Amazon CloudWatch metrics.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipecd.config.analysis import CloudWatchConfig
from pipecd.errors import Refused, Temporary
from pipecd.json_input import decode_json
from pipecd.model.analysis import Point
from pipecd.platforms.aws import AwsProvider, client

#: Of a query in SQL (seconds).
PERIOD = 60
#: Answers of one query.
MAX_PAGES = 20


async def query(config: CloudWatchConfig, query: str, start: float, end: float) -> Sequence[Point]:
    """The values of a Metrics Insights query (`SELECT …`), or of `MetricDataQueries` in JSON."""
    request: dict[str, Any] = {
        "MetricDataQueries": _queries(query),
        "StartTime": datetime.fromtimestamp(start, UTC),
        "EndTime": datetime.fromtimestamp(end, UTC),
    }
    points: list[Point] = []
    async with client("cloudwatch", provider_of(config)) as sdk:
        for _ in range(MAX_PAGES):
            response = await sdk.get_metric_data(**request)
            points += _points(response)
            if not (token := response.get("NextToken")):
                return sorted(points, key=lambda point: point.at)
            request["NextToken"] = token
    raise Temporary(f"CloudWatch sent more than {MAX_PAGES} pages")


def provider_of(config: CloudWatchConfig) -> AwsProvider:
    return AwsProvider.model_validate(config.model_dump(by_alias=True, exclude_defaults=True))


def _queries(query: str) -> list[Mapping[str, Any]]:
    text = query.strip()
    if not text.startswith(("[", "{")):
        return [{"Id": "q1", "Expression": text, "Period": PERIOD}]
    try:
        queries = decode_json(text)
    except ValueError as error:
        raise Refused(f"the query is not JSON: {error}", remedy="correct the query") from None
    return queries if isinstance(queries, list) else [queries]


def _points(response: Mapping[str, Any]) -> list[Point]:
    results = response.get("MetricDataResults", [])
    failed = next(
        (result for result in results if result.get("StatusCode") in ("InternalError", "Forbidden")), None
    )
    if failed:
        words = ", ".join(str(message.get("Value", "")) for message in failed.get("Messages", []))
        raise Temporary(f"CloudWatch: {failed['StatusCode']} {words}".strip())
    return [
        Point(at.timestamp(), float(value))
        for result in results
        for at, value in zip(result.get("Timestamps", []), result.get("Values", []), strict=False)
    ]
