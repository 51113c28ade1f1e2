"""Each provider against its service: Prometheus itself, CloudWatch of moto, servers with the others' APIs."""

import base64
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from pipecd.analysis import Providers
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import piped as config
from pipecd.errors import ConfigError, PipecdError, Refused, Temporary
from pipecd.platforms.connections import connection_pool
from tests.aws import REGION, emulated_aws
from tests.world import agent_spec


def providers(folder: Path, *entries: Mapping[str, Any]) -> Providers:
    key = folder / "key"
    key.write_text("key")
    document = agent_spec("localhost:1", "p", key, {}, analysisProviders=list(entries))
    return Providers(config.load(json.dumps(document), "piped.yaml"))


@asynccontextmanager
async def server(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        answer = await handler(request)
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_credentials_and_headers_of_prometheus(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("ada\n")
    (tmp_path / "password").write_text("secret\n")
    seen: list[Any] = []

    async def handle(request: web.Request) -> Any:
        seen.append((request.method, dict(request.headers)))
        if request.method == "POST":
            return web.Response(status=405)
        return {"status": "success", "data": {"result": [{"values": [[1, "2"], [2, "NaN"], [3, "+Inf"]]}]}}

    async with server(handle) as address:
        settings = {
            "address": f"{address}/",
            "usernameFile": str(tmp_path / "user"),
            "passwordFile": str(tmp_path / "password"),
            "headers": {"X-Scope-OrgID": "shop"},
        }
        found = providers(tmp_path, {"name": "p", "type": "PROMETHEUS", "config": settings})
        points = await found.points("p", "x", 0, 60)
    assert [point.value for point in points] == [2.0, math.inf]
    assert [method for method, _ in seen] == ["POST", "GET"]
    basic = base64.b64encode(b"ada:secret").decode()
    assert all(headers["Authorization"] == f"Basic {basic}" for _, headers in seen)
    assert all(headers["X-Scope-OrgID"] == "shop" for _, headers in seen)


async def test_values_of_datadog(tmp_path: Path) -> None:
    async def handle(request: web.Request) -> Any:
        assert request.headers["DD-API-KEY"] == "api" and request.headers["DD-APPLICATION-KEY"] == "app"
        assert request.path == "/api/v1/query"
        if request.query["query"] == "bad":
            return {"status": "error", "error": "Rule 'metric' is missing"}
        series = [{"pointlist": [[1000, 1.5], [2000, None]]}, {"pointlist": []}]
        return {"status": "ok", "series": series}

    (tmp_path / "api").write_text("api\n")
    async with server(handle) as address:
        settings = {
            "address": address,
            "apiKeyFile": str(tmp_path / "api"),
            "applicationKeyData": base64.b64encode(b"app").decode(),
        }
        found = providers(tmp_path, {"name": "d", "type": "DATADOG", "config": settings})
        points = await found.points("d", "avg:errors{*}", 0, 60)
        assert [(point.at, point.value) for point in points] == [(1.0, 1.5)]
        with pytest.raises(Refused, match="Rule 'metric' is missing"):
            await found.points("d", "bad", 0, 60)


async def test_values_of_cloudwatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with emulated_aws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        data = [
            {"MetricName": "Errors", "Timestamp": now - timedelta(minutes=minutes), "Value": float(minutes)}
            for minutes in (1, 2, 3)
        ]
        aws.client("cloudwatch").put_metric_data(Namespace="Shop", MetricData=data)
        metric = {"Metric": {"Namespace": "Shop", "MetricName": "Errors"}, "Period": 60, "Stat": "Sum"}
        query = json.dumps([{"Id": "errors", "MetricStat": metric}])
        found = providers(tmp_path, {"name": "c", "type": "CLOUDWATCH", "config": {"region": REGION}})
        end = now.timestamp()
        async with connection_pool(SYSTEM_CLOCK):
            points = await found.points("c", query, end - 180, end)
            assert [(point.at - end, point.value) for point in points] == [
                (-180, 3.0),
                (-120, 2.0),
                (-60, 1.0),
            ]
            with pytest.raises(Refused, match="the query is not JSON"):
                await found.points("c", "[{", end - 180, end)


async def test_lines_of_loki(tmp_path: Path) -> None:
    async def handle(request: web.Request) -> Any:
        query = parse_qs(request.query_string)
        assert (query["start"], query["end"]) == (["1000000000"], ["61000000000"])
        return {
            "status": "success",
            "data": {
                "resultType": "streams" if "=" in query["query"][0] else "matrix",
                "result": [{"stream": {}, "values": [["1", "panic: a"], ["2", "panic: b"]]}],
            },
        }

    async with server(handle) as address:
        found = providers(tmp_path, {"name": "l", "type": "LOKI", "config": {"address": address}})
        assert await found.log_lines("l", '{app="shop"} |= "panic"', 1, 61) == ["panic: a", "panic: b"]
        with pytest.raises(Refused, match="does not return log lines"):
            await found.log_lines("l", "rate(x)", 1, 61)
        with pytest.raises(Refused, match="has logs, but no metrics"):
            await found.points("l", "x", 1, 61)


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (
            400,
            '{"status":"error","error":"parse error"}',
            Refused,
            "answered 400: parse error; correct the query",
        ),
        (401, "no", Refused, "answered 401: no; check the credentials"),
        (503, "<html>away</html>", Temporary, "answered 503: <html>away"),
        (200, "[", Temporary, "answered 200: \\["),
        (200, '{"status":"error"}', Temporary, "none of its API"),
        (200, '{"status":"success","data":{"result":[{"values":[["a","b"]]}]}}', Refused, "no numbers"),
    ],
)
async def test_errors_say_whether_a_person_must_act(
    tmp_path: Path, status: int, body: str, error: type[PipecdError], words: str
) -> None:
    async def handle(request: web.Request) -> Any:
        return web.Response(status=status, text=body)

    async with server(handle) as address:
        found = providers(tmp_path, {"name": "p", "type": "PROMETHEUS", "config": {"address": address}})
        with pytest.raises(error, match=words):
            await found.points("p", "x", 0, 60)


async def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    async def handle(request: web.Request) -> Any:
        return web.Response(body=b" " * (11 * 1024 * 1024))

    async with server(handle) as address:
        found = providers(tmp_path, {"name": "p", "type": "PROMETHEUS", "config": {"address": address}})
        with pytest.raises(Temporary, match="more than 10 MiB"):
            await found.points("p", "x", 0, 60)


async def test_what_is_not_configured_is_refused(tmp_path: Path) -> None:
    found = providers(
        tmp_path, {"name": "p", "type": "PROMETHEUS", "config": {"address": "http://127.0.0.1:1"}}
    )
    with pytest.raises(ConfigError, match="this agent has no analysis provider other"):
        await found.points("other", "x", 0, 60)
    with pytest.raises(Temporary, match=r"127\.0\.0\.1:1/api/v1/query_range does not answer"):
        await found.points("p", "x", 0, 60)
    with pytest.raises(Refused, match="has no logs"):
        await found.log_lines("p", "x", 0, 60)
    with pytest.raises(Refused, match="is not an http or https URL"):
        await found.request("GET", "file:///etc/passwd", {})
    with pytest.raises(ConfigError, match="address"):
        providers(tmp_path, {"name": "p", "type": "PROMETHEUS", "config": {}})
