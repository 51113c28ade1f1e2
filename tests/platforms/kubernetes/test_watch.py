"""Watches of a real API server, through restarts, expired versions and refused streams."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import PermissionDenied
from pipecd.platforms.kubernetes.cluster.api import ApiClient, open_client
from pipecd.platforms.kubernetes.cluster.errors import Rejected, Status
from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access
from pipecd.platforms.kubernetes.cluster.watch import Deleted, Event, Listing, Seen, Synced, watch
from pipecd.platforms.kubernetes.settings import ClientSettings
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.test_api import CONFIG_MAPS, config_map

TIMEOUT = 120.0


def described(event: Event) -> str:
    match event:
        case Seen(item):
            return f"seen {item['metadata']['name']} {(item.get('data') or {}).get('x')}"
        case Deleted(item):
            return f"deleted {item['metadata']['name']}"
        case _:
            return type(event).__name__


@asynccontextmanager
async def watching(client: ApiClient, namespace: str, **options: Any) -> AsyncIterator[AsyncIterator[str]]:
    async with asyncio.timeout(TIMEOUT), aclosing(watch(client, CONFIG_MAPS, namespace, **options)) as events:

        async def descriptions() -> AsyncIterator[str]:
            async for event in events:
                yield described(event)

        yield descriptions()


async def until(events: AsyncIterator[str], last: str) -> list[str]:
    """The events up to `last`."""
    received = []
    async for event in events:
        received.append(event)
        if event == last:
            break
    return received


async def apply(client: ApiClient, namespace: str, name: str, x: str) -> None:
    await client.apply(CONFIG_MAPS, namespace, name, config_map(name, x=x), manager="test")


async def delete(client: ApiClient, namespace: str, name: str) -> None:
    found = await client.get(CONFIG_MAPS, namespace, name)
    await client.delete(CONFIG_MAPS, namespace, name, uid=found["metadata"]["uid"])


@pytest.mark.parametrize("streamed", [True, False])
async def test_existing_objects_are_followed_by_changes(
    cluster: Cluster, namespace: str, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without streamed lists, as before Kubernetes 1.32, the objects are listed in pages."""
    access, settings = load_access(path=str(cluster.kubeconfig)), ClientSettings(page_size=1)
    async with open_client(access, settings=settings) as client:
        if not streamed:
            refuse_streamed_lists(client, monkeypatch)
        for name in "ab":
            await apply(client, namespace, name, "1")
        async with watching(client, namespace) as events:
            first = await until(events, "Synced")
            assert (first[0], sorted(first[1:-1])) == ("Listing", ["seen a 1", "seen b 1"])
            await apply(client, namespace, "a", "2")
            await delete(client, namespace, "b")
            assert await until(events, "deleted b") == ["seen a 2", "deleted b"]


async def test_labels_select_objects_and_an_object_that_loses_them_is_deleted(
    client: ApiClient, namespace: str
) -> None:
    await apply(client, namespace, "other", "1")
    labelled = {**config_map("a", x="1"), "metadata": {"name": "a", "labels": {"app": "shop"}}}
    async with watching(client, namespace, label_selector="app=shop") as events:
        assert await until(events, "Synced") == ["Listing", "Synced"]
        await client.apply(CONFIG_MAPS, namespace, "a", labelled, manager="test")
        await apply(client, namespace, "a", "2")
        assert await until(events, "deleted a") == ["seen a 1", "deleted a"]


async def test_metadata_alone_can_be_followed(client: ApiClient, namespace: str) -> None:
    await apply(client, namespace, "a", "1")
    async with aclosing(watch(client, CONFIG_MAPS, namespace, metadata_only=True)) as events:
        seen = [event.object async for event in _until_synced(events) if isinstance(event, Seen)]
    assert all((item["kind"], item["apiVersion"]) == ("ConfigMap", "v1") for item in seen)
    assert "a" in [item["metadata"]["name"] for item in seen]
    assert not any("data" in item for item in seen)


async def _until_synced(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async for event in events:
        if isinstance(event, Synced):
            return
        yield event


async def test_a_missing_permission_ends_the_watch(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    user = {"token": cluster.tokens["admin"], "as": "jane"}
    (tmp_path / "config").write_text(json.dumps(cluster.config(user)))
    async with open_client(load_access(path=str(tmp_path / "config"))) as client:
        with pytest.raises(PermissionDenied, match='cannot watch resource "configmaps"'):
            async for event in watch(client, CONFIG_MAPS, namespace):
                assert isinstance(event, Listing)


def refuse_streamed_lists(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an API server before Kubernetes 1.32."""
    stream = client.stream

    def refusing(path: str, *, params: Any, **options: Any) -> Any:
        if "sendInitialEvents" in params:
            message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            raise Rejected(Status(code=422, reason="Invalid", message=message))
        return stream(path, params=params, **options)

    monkeypatch.setattr(client, "stream", refusing)
