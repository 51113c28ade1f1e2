"""A cluster whose API server is away, restarts, or has lost its history, while others work."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from pipecd.errors import Temporary
from pipecd.model.drift import Drift
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.cluster.api import open_client
from pipecd.platforms.kubernetes.cluster.discovery import _aggregated
from pipecd.platforms.kubernetes.cluster.kubeconfig import Access, load_access
from pipecd.platforms.kubernetes.cluster.outage import Outage
from pipecd.platforms.kubernetes.cluster.watch import (
    Deleted,
    Event,
    Interrupted,
    Listing,
    Resumed,
    Seen,
    Synced,
    watch,
)
from pipecd.platforms.kubernetes.drift import detect_drift
from pipecd.platforms.kubernetes.settings import StageSettings
from tests.cluster import shared
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.conftest import create_namespace
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment, provider_of
from tests.platforms.kubernetes.test_api import CONFIG_MAPS
from tests.platforms.kubernetes.test_watch import TIMEOUT, apply, delete
from tests.virtual_clock import VirtualClock


class Follower:
    """What a caller has of the objects, by the events so far."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events, self.listings = events, 0
        #: Whether changes may be missed, and how often the watch went on without a list.
        self.interrupted, self.resumed = False, 0
        self.objects: dict[str, str] = {}
        self._listed: dict[str, str] | None = None

    async def until(self, objects: dict[str, str], *, listings: int = 0) -> None:
        """Returns when exactly `objects` are known, after at least `listings` complete lists."""
        while self._listed is not None or self.objects != objects or self.listings < listings:
            self._receive(await anext(self._events))

    def _receive(self, event: Event) -> None:
        known = self.objects if self._listed is None else self._listed
        match event:
            case Listing():
                self._listed = {}
            case Synced():
                assert self._listed is not None
                self.objects, self._listed = self._listed, None
                self.listings += 1
                self.interrupted = False
            case Interrupted():
                self.interrupted = True
            case Resumed():
                self.interrupted = False
                self.resumed += 1
            case Seen(item) if (item.get("data") or {}).get("x"):
                known[item["metadata"]["name"]] = item["data"]["x"]
            case Deleted(item):
                known.pop(item["metadata"]["name"], None)


async def drift(shop: Shop, commit: Path) -> Drift:
    runner = shop.runner(commit)
    request = await observation_request(platform, runner.provider, commit)
    application = replace(request.application, id=shop.application)
    return await detect_drift(replace(request, application=application, providers=runner.find))


async def test_an_outage_pauses_only_its_cluster_and_loses_nothing(
    cluster: Cluster,
    stoppable_cluster: Cluster,
    namespace: str,
    tmp_path: Path,
) -> None:
    settings = StageSettings(call_duration=0.0)
    create_namespace(stoppable_cluster, namespace)
    outage = shared.Outage(stoppable_cluster)
    (tmp_path / "away").mkdir()
    (tmp_path / "here").mkdir()
    away, here = (
        Shop(stoppable_cluster, namespace, tmp_path / "away", settings),
        Shop(cluster, namespace, tmp_path / "here", settings),
    )
    here.others = {"away": provider_of(stoppable_cluster)}
    target = away.commit(deployment("web"), config_map("settings"))
    running = away.runner(target)
    await running.run("K8S_SYNC", calls=2)
    access = load_access(path=str(stoppable_cluster.kubeconfig))
    async with (
        asyncio.timeout(TIMEOUT),
        open_client(access) as client,
        aclosing(watch(client, CONFIG_MAPS, namespace)) as events,
    ):
        for name in "ab":
            await apply(client, namespace, name, "1")
        follower = Follower(events)
        await follower.until({"a": "1", "b": "1"}, listings=1)

        await asyncio.to_thread(outage.begin)
        # The stage that is running waits, with a sentence.
        await running.run("K8S_SYNC", calls=1)
        assert f"the API server {stoppable_cluster.url} cannot be reached" in running.log.lines[-1]
        with pytest.raises(Temporary, match="cannot be reached"):
            await drift(away, target)
        # The other cluster's application is not affected.
        commit = here.commit(config_map("other"))
        assert_succeeded(await here.runner(commit).run("K8S_SYNC"))
        assert (await drift(here, commit)).in_sync
        # An application on both is deployed where that is possible, and waits for the other cluster.
        routes = [{"provider": {"name": "away"}, "match": {"name": "remote"}}]
        both = here.runner(here.commit(config_map("local"), config_map("remote"), resourceRoutes=routes))
        waits = "away: the API server https://127.0.0.1"
        await both.run("K8S_SYNC", until=lambda: "".join(both.log.lines[-1:]).startswith(waits))
        assert here.get("configmaps", "local") is not None
        assert both.log.lines[-1].startswith(waits)

        await asyncio.to_thread(outage.end)
        assert_succeeded(await running.run("K8S_SYNC"))
        assert_succeeded(await both.run("K8S_SYNC"))
        assert away.get("configmaps", "remote") is not None
        async with open_client(access) as other:
            await apply(other, namespace, "a", "2")
            await delete(other, namespace, "b")
        await follower.until({"a": "2"})
        assert follower.resumed == 1 and not follower.interrupted

        listings = follower.listings
        await asyncio.to_thread(outage.begin, forget_versions=True)
        await asyncio.to_thread(outage.end)
        await follower.until({"a": "2"}, listings=listings + 1)
        assert not follower.interrupted


async def test_requests_fail_at_once_while_a_cluster_is_away() -> None:
    clock = VirtualClock()
    outage = Outage(clock)
    with outage.attempt("one"):
        outage.failed("timeout", sent_at=clock.monotonic())
    await clock.advance(0.9)
    for _ in range(3):
        with (
            pytest.raises(Temporary, match=r"the API server one cannot be reached: timeout \(for 1 s\)"),
            outage.attempt("one"),
        ):
            pass
    await clock.advance(0.1)
    with outage.attempt("one"):
        with pytest.raises(Temporary), outage.attempt("one"):
            pass
        # A packet that is lost takes ten seconds: the next attempt follows after twenty.
        sent_at = clock.monotonic()
        await clock.advance(10.0)
        outage.failed("timeout", sent_at=sent_at)
    await clock.advance(19.0)
    with pytest.raises(Temporary), outage.attempt("one"):
        pass
    await clock.advance(1.0)
    with outage.attempt("one"):
        outage.succeeded()
    with outage.attempt("one"), outage.attempt("one"):
        pass


async def test_a_silent_server_does_not_delay_other_requests(unused_tcp_port: int) -> None:
    """It accepts connections, and never answers: one request waits for it, and the others fail at once."""

    async def ignore(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(ignore, "127.0.0.1", unused_tcp_port)
    access = Access(server=f"http://127.0.0.1:{unused_tcp_port}", origin="test")
    async with server, open_client(access) as client:
        with pytest.raises(Temporary, match="timeout"):
            async with client.stream("/api", params={}, silence=0.1):
                pass
        started = time.monotonic()
        for _ in range(100):
            with pytest.raises(Temporary, match=r"cannot be reached: timeout \(for"):
                await client.get_json("/api")
        assert time.monotonic() - started < 1.0


async def test_a_broken_api_service_concerns_only_its_kinds(
    other_cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    create_namespace(other_cluster, namespace)
    group = f"{namespace}.example.com"
    service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1.{group}"},
        "spec": {
            "group": group,
            "version": "v1",
            "service": {"namespace": namespace, "name": "none"},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 1,
            "versionPriority": 1,
        },
    }
    other_cluster.request("/apis/apiregistration.k8s.io/v1/apiservices", service)
    shop = Shop(other_cluster, namespace, tmp_path)
    commit = shop.commit(config_map("a"), quickSync={"prune": True})
    assert_succeeded(await shop.runner(commit).run("K8S_SYNC"))
    assert (await drift(shop, commit)).in_sync
    broken = shop.commit({"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "a"}})
    # It is not known whether the object exists: that is not drift.
    with pytest.raises(Temporary, match=f"check the APIService of {group}/v1"):
        await drift(shop, broken)


@pytest.mark.parametrize("resources", [[], [{"resource": "things", "responseKind": {"kind": "Thing"}}]])
def test_a_stale_group_is_broken_also_if_its_kinds_are_known(resources: list[dict[str, object]]) -> None:
    version = {"version": "v1", "freshness": "Stale", "resources": resources}
    root = _aggregated({"items": [{"metadata": {"name": "a.example.com"}, "versions": [version]}]}, "tag")
    assert (root.broken, root.etag, len(root.types)) == ({"a.example.com/v1"}, "", len(resources))
