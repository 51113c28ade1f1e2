"""Each provider against its service: Prometheus itself, CloudWatch of moto, servers with the others' APIs."""

import asyncio
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
from pipecd.google_credentials import GoogleCredentials
from pipecd.platforms.connections import connection_pool
from tests.aws import REGION, emulated_aws
from tests.trace_collector import recorded
from tests.world import agent_spec


def providers(folder: Path, *entries: Mapping[str, Any], **settings: float) -> Providers:
    key = folder / "key"
    key.write_text("key")
    document = agent_spec("localhost:1", "p", key, {}, analysisProviders=list(entries))
    return Providers(config.load(json.dumps(document), "piped.yaml"), **settings)


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


async def test_queries_are_spans_with_their_provider_and_status(tmp_path: Path) -> None:
    async def handle(request: web.Request) -> Any:
        if "bad" in await request.text():
            return web.Response(status=400)
        return {"status": "success", "data": {"result": []}}

    async with server(handle) as address, recorded() as spans:
        found = providers(tmp_path, {"name": "p", "type": "PROMETHEUS", "config": {"address": address}})
        await found.points("p", "up", 0, 60)
        with pytest.raises(Refused):
            await found.points("p", 'bad{token="secret"}', 0, 60)
    by_id = {span.id: span for span in spans}
    calls = [span for span in spans if span.name == "analysis POST"]
    assert [(span.attributes["http.response.status_code"], span.failure) for span in calls] == [
        ("200", ""),
        ("400", "400"),
    ]
    assert {span.attributes["server.address"] for span in calls} == {"127.0.0.1"}
    queries = [by_id[span.parent] for span in calls]
    assert {(span.name, span.attributes["provider"]) for span in queries} == {("analysis query", "p")}
    assert [bool(span.failure) for span in queries] == [False, True]
    assert [by_id[span.parent].name for span in queries] == ["test", "test"]
    assert "secret" not in str(spans)


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


async def test_lines_of_cloudwatch_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).timestamp()
    with emulated_aws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        logs = aws.client("logs")
        logs.create_log_group(logGroupName="/shop/web")
        logs.create_log_stream(logGroupName="/shop/web", logStreamName="a")
        events = [
            {"timestamp": int((now - age) * 1000), "message": message}
            for age, message in ((50, "panic: a"), (40, "fine"), (30, "panic: b"))
        ]
        logs.put_log_events(logGroupName="/shop/web", logStreamName="a", logEvents=events)
        found = providers(
            tmp_path,
            {"name": "c", "type": "CLOUDWATCH", "config": {"region": REGION, "logGroups": ["/shop/web"]}},
            {"name": "gone", "type": "CLOUDWATCH", "config": {"region": REGION, "logGroups": ["/none"]}},
            {"name": "none", "type": "CLOUDWATCH", "config": {"region": REGION}},
        )
        query = "fields @timestamp, @message | sort @timestamp asc"
        async with connection_pool(SYSTEM_CLOCK):
            lines = await found.log_lines("c", query, now - 60, now)
            assert lines == ["panic: a", "fine", "panic: b"]
            with pytest.raises(PipecdError, match="StartQuery"):
                await found.log_lines("gone", query, now - 60, now)
            with pytest.raises(ConfigError, match=r"add config\.logGroups"):
                await found.log_lines("none", query, now - 60, now)


async def test_a_query_of_cloudwatch_logs_is_waited_for_or_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of the documented states; an account may run 30 queries, so none may be left behind."""
    calls: list[str] = []
    states: list[str] = []
    running = asyncio.Event()

    async def handle(request: web.Request) -> Any:
        call = request.headers["X-Amz-Target"].rpartition(".")[2]
        calls.append(call)
        body = await request.json()
        if call == "StartQuery":
            assert (body["logGroupNames"], body["startTime"], body["endTime"]) == (["/shop"], 0, 60)
            assert body["limit"] == 100
            return {"queryId": "q"}
        if call == "StopQuery":
            return {"success": True}
        state = states.pop(0) if len(states) > 1 else states[0]
        running.set()
        rows = [[{"field": "level", "value": "error"}, {"field": "n", "value": "3"}, {"field": "@ptr"}]]
        return {"status": state, "results": rows if state in ("Running", "Complete") else []}

    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(name, value)
    settings = {"region": REGION, "logGroups": ["/shop"]}
    async with server(handle) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        provider = {"name": "c", "type": "CLOUDWATCH", "config": settings}
        found = providers(tmp_path, provider, poll_interval=0.001)
        async with connection_pool(SYSTEM_CLOCK):
            states[:] = ["Scheduled", "Running", "Complete"]
            assert await found.log_lines("c", "stats count(*) as n by level", 0, 60) == ["level: error, n: 3"]
            assert calls == ["StartQuery", *["GetQueryResults"] * 3]
            for state in ("Failed", "Cancelled", "Timeout"):
                states[:] = [state]
                with pytest.raises(Temporary, match=f"ended the query: {state}"):
                    await found.log_lines("c", "x", 0, 60)
            assert "StopQuery" not in calls
            states[:] = ["Running"]
            running.clear()
            task = asyncio.create_task(found.log_lines("c", "x", 0, 60))
            await running.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert calls[-1] == "StopQuery"


async def test_lines_of_cloud_logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GoogleCredentials, "headers", lambda self: {"Authorization": "Bearer t"})
    pages: list[Any] = []
    bodies: list[Any] = []

    async def handle(request: web.Request) -> Any:
        assert (request.method, request.path) == ("POST", "/v2/entries:list")
        assert request.headers["Authorization"] == "Bearer t"
        bodies.append(await request.json())
        return pages.pop(0)

    async with server(handle) as address:
        settings = {"project": "shop", "loggingEndpoint": address}
        found = providers(tmp_path, {"name": "g", "type": "STACKDRIVER", "config": settings})
        pages[:] = [
            # Not finished in time: continued with the next page.
            {"nextPageToken": "2"},
            {
                "entries": [{"textPayload": "panic: a\n"}, {"jsonPayload": {"message": "b"}}],
                "nextPageToken": "3",
            },
            {"entries": [{"jsonPayload": {"code": 5}}, {"protoPayload": {"methodName": "x"}}, {}]},
        ]
        lines = await found.log_lines("g", 'severity>=ERROR OR textPayload:"panic" -- all', 0, 60)
        assert lines == ["panic: a", "b", '{"code": 5}', '{"methodName": "x"}', "{}"]
        assert [body.get("pageToken") for body in bodies] == [None, "2", "3"]
        first = bodies[0]
        assert (first["resourceNames"], first["orderBy"]) == (["projects/shop"], "timestamp desc")
        assert first["filter"] == (
            '(\nseverity>=ERROR OR textPayload:"panic" -- all\n)\n'
            'AND timestamp >= "1970-01-01T00:00:00Z" AND timestamp < "1970-01-01T00:01:00Z"'
        )
        pages[:] = [{"entries": [{"textPayload": str(n)} for n in range(100)], "nextPageToken": "2"}]
        assert len(await found.log_lines("g", "x", 0, 60)) == 100
        pages[:] = [{"nextPageToken": "more"}] * 20
        with pytest.raises(Temporary, match="more than 20 pages"):
            await found.log_lines("g", "x", 0, 60)
        denied = {"error": {"code": 403, "message": "Permission denied for all log views"}}
        pages[:] = [web.json_response(denied, status=403)]
        with pytest.raises(Refused, match=r"Cloud Logging answered 403: Permission .*; check the cred"):
            await found.log_lines("g", "x", 0, 60)
        quota = {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}
        pages[:] = [web.json_response(quota, status=429)]
        with pytest.raises(Temporary, match="Quota exceeded"):
            await found.log_lines("g", "x", 0, 60)


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


async def test_a_link_to_the_graph_of_the_provider(tmp_path: Path) -> None:
    template = "https://g.example/?q={{ .Query }}&from={{ .Start }}&to={{ .EndSeconds }}"
    base = {"name": "p", "type": "PROMETHEUS", "config": {"address": "http://127.0.0.1:1"}}
    link = providers(tmp_path, {**base, "linkTemplate": template}).link("p", "rate(x[1m])&", 1.5, 61)
    assert link == "https://g.example/?q=rate%28x%5B1m%5D%29%26&from=1500&to=61"
    assert providers(tmp_path, base).link("p", "x", 0, 60) == ""
    for wrong in ("https://g.example/{{ .Other }", "javascript:alert(1)"):
        with pytest.raises(ConfigError, match="linkTemplate"):
            providers(tmp_path, {**base, "linkTemplate": wrong})


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
