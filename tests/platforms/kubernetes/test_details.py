"""Details and logs of objects on a real cluster: masked, of the application alone, and followed."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import NotFound, Refused, Temporary
from pipecd.model.details import DetailsRequest, LogLine, LogRequest
from pipecd.model.resource import Resource
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.details import load_details, presentable
from pipecd.platforms.kubernetes.logs import _instant, _split, follow_log
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.node import Node, running_node
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment
from tests.platforms.kubernetes.test_live import Live, following

PASSWORD = "correct-horse-battery"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "login", "annotations": {"copy": json.dumps({"data": {"password": ENCODED}})}},
    "data": {"plain": ENCODED},
}


@pytest.fixture
def node(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Node]:
    with running_node(cluster, f"node-{namespace}", tmp_path) as found:
        yield found


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


async def request_of(shop: Shop, commit: Path, resource_id: str) -> DetailsRequest:
    observation = await observation_request(platform, shop.runner(commit).provider, commit)
    application = replace(observation.application, id=shop.application)
    return DetailsRequest(observation=replace(observation, application=application), resource_id=resource_id)


async def log_request(shop: Shop, commit: Path, resource_id: str, **fields: Any) -> LogRequest:
    request = await request_of(shop, commit, resource_id)
    return LogRequest(observation=request.observation, resource_id=resource_id, **fields)


async def resources(live: Live, *kinds: str) -> dict[str, Resource]:
    found = await live.until(lambda all: set(kinds) <= {resource.kind for resource in all})
    return {resource.kind: resource for resource in found}


def event(shop: Shop, uid: str, message: str) -> None:
    shop.create(
        "events",
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"event-{message[:3]}", "namespace": shop.namespace},
            "involvedObject": {"kind": "Pod", "namespace": shop.namespace, "uid": uid},
            "type": "Warning",
            "reason": "BackOff",
            "message": message,
            "source": {"component": "kubelet"},
            "count": 3,
            "lastTimestamp": "2026-11-27T12:00:00Z",
        },
    )


async def test_details_of_what_git_declares_and_of_what_it_created(shop: Shop) -> None:
    declared = deployment("web")
    declared["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "DB_PASSWORD", "value": PASSWORD},
        {"name": "MODE", "value": "fast"},
    ]
    commit = shop.commit(declared, config_map("settings"), SECRET)
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    async with following(shop, commit) as live:
        found = await resources(live, "Pod", "Deployment", "Secret", "ConfigMap")
        event(shop, found["Pod"].id, "restarting failed container")
        web = await load_details(await request_of(shop, commit, found["Deployment"].id))
        assert yaml.safe_load(web.live)["status"]["replicas"] == 1
        assert yaml.safe_load(web.git)["spec"]["selector"] == declared["spec"]["selector"]
        assert "managedFields" not in web.live
        for text in (web.live, web.git):
            assert PASSWORD not in text
            assert "value: fast" in text
        assert (web.difference, web.notes, web.containers) == ("", [], ())

        shop.patch("deployments", "web", {"spec": {"replicas": 3}}, manager="kubectl")
        changed = await load_details(await request_of(shop, commit, found["Deployment"].id))
        assert "-  replicas: 3" in changed.difference
        assert "+  replicas: 1" in changed.difference
        assert any("kubectl" in note for note in changed.notes)

        pod = await load_details(await request_of(shop, commit, found["Pod"].id))
        assert (pod.git, pod.difference) == ("", "")
        assert [container.name for container in pod.containers] == ["web"]
        (seen,) = [item for item in pod.events if item.reason == "BackOff"]
        assert (seen.message, seen.warning, seen.count) == ("restarting failed container", True, 3)

        secret = await load_details(await request_of(shop, commit, found["Secret"].id))
        for text in (secret.live, secret.git):
            assert "plain: (hidden" in text
            assert ENCODED not in text and PASSWORD not in text

        # Of another application, or none.
        other = await request_of(shop, commit, found["Pod"].id)
        other_application = replace(other.observation.application, id="other")
        stolen = replace(other, observation=replace(other.observation, application=other_application))
        for refused in (stolen, replace(other, resource_id="nothing")):
            with pytest.raises(NotFound):
                await load_details(refused)

        with pytest.raises(Refused, match="has no log"):
            await anext(follow_log(await log_request(shop, commit, found["ConfigMap"].id)))


def stamped(second: int, text: str) -> str:
    return f"2026-11-27T12:00:{second:02d}.5Z {text}\n"


async def read(lines: AsyncIterator[Any], count: int) -> list[LogLine]:
    found: list[LogLine] = []
    async with asyncio.timeout(120):
        while len(found) < count:
            found += await anext(lines)
    return found


async def test_a_log_is_followed_and_continued(shop: Shop, node: Node) -> None:
    commit = shop.commit(deployment("web", nodeName=node.name))
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    node.text = stamped(1, "one") + stamped(2, "\x1b[31mtwo\x1b[0m")
    async with following(shop, commit) as live:
        pod = (await resources(live, "Pod"))["Pod"]
        lines = follow_log(await log_request(shop, commit, pod.id, container="web", tail_lines=7))
        async with aclosing(lines):
            assert [line.text for line in await read(lines, 2)] == ["one", "two"]
            node.following.put(stamped(3, "three"))
            (third,) = await read(lines, 1)
            assert (third.text, third.time) == ("three", "2026-11-27T12:00:03.5Z")
        # Closing the drawer ends the request at the node.
        async with asyncio.timeout(120):
            # The node notices when it writes.
            while node.abandoned.empty():
                node.following.put(stamped(4, "four"))
                await asyncio.to_thread(node.wrote.acquire, timeout=1)
        for parameter in ("tailLines=7", "timestamps=true"):
            assert parameter in node.requests[-1]
        while not node.following.empty():
            node.following.get_nowait()

        node.following.put(None)
        continued = follow_log(await log_request(shop, commit, pod.id, since="2026-11-27T12:00:01.5Z"))
        texts = [line.text async for part in continued for line in part]
        assert texts == ["two"], "ends with the container"
        assert "sinceTime=2026-11-27T12%3A00%3A01" in node.requests[-1]

        shop.cluster.request(
            f"/api/v1/nodes/{node.name}/status",
            {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}},
            method="PATCH",
            content_type="application/merge-patch+json",
        )
        with pytest.raises(Temporary):
            await anext(follow_log(await log_request(shop, commit, pod.id)))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-11-27T12:00:00.1Z", "2026-11-27T12:00:00.11Z"),
        ("2026-11-27T12:00:00Z", "2026-11-27T12:00:00.000000001Z"),
        ("2026-11-27T13:00:00.9+02:00", "2026-11-27T12:00:00Z"),
    ],
)
def test_times_are_compared_by_value(earlier: str, later: str) -> None:
    first, second = _instant(earlier), _instant(later)
    assert first and second and first < second


@pytest.mark.parametrize("time", ["yesterday", "2026-11-27", "9999-99-99T00:00:00Z", "", "x" * 64])
def test_other_texts_are_no_times(time: str) -> None:
    assert _instant(time) is None


async def test_lines_are_put_together_and_split() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b""
        yield b"2026-11-27T12:00:00Z hel"
        yield b"lo\n2026-11-27T12:00:01Z \n  no time\n"
        yield b"y" * 20_000
        yield b"\xff"

    found = [line async for part in _split(chunks()) for line in part]
    assert [line.text for line in found[:3]] == ["hello", "", "  no time"]
    assert [line.time for line in found[:3]] == ["2026-11-27T12:00:00Z", "2026-11-27T12:00:01Z", ""]
    assert "".join(line.text for line in found[3:]) == "y" * 20_000 + "�"
    assert max(len(line.text) for line in found) <= 8192


def test_copies_of_the_object_in_annotations_are_masked() -> None:
    copy = {"spec": {"env": [{"name": "API_TOKEN", "value": PASSWORD}]}}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": json.dumps(copy),
                "tool/original": json.dumps(copy),
                "plain": "{not json",
            },
        },
    }
    shown = presentable(body, str)
    assert PASSWORD not in json.dumps(shown)
    assert list(shown["metadata"]["annotations"]) == ["tool/original", "plain"]
