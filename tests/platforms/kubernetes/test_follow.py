"""The records of a real cluster: what is followed, what a change costs, and what an outage means."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipecd.errors import Temporary
from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.cluster.discovery import Discovery
from pipecd.platforms.kubernetes.cluster.follow import Follower, Scope
from pipecd.platforms.kubernetes.cluster.watch import Listing, Synced
from pipecd.platforms.kubernetes.health.rules import HealthRules
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import Marks
from pipecd.platforms.kubernetes.metrics import EVENTS, REQUESTS
from pipecd.platforms.kubernetes.reduce import Reducer
from pipecd.platforms.kubernetes.settings import FollowSettings
from tests.eventually import eventually
from tests.platforms.kubernetes.stage_runner import config_map, deployment

DEPLOYMENTS, CONFIG_MAPS = ("apps", "Deployment"), ("", "ConfigMap")
TIMEOUT = 120.0


class Following:
    """A follower of one namespace, and the applications that it reported."""

    def __init__(
        self,
        client: ApiClient,
        discovery: Discovery,
        namespace: str,
        settings: FollowSettings = FollowSettings(),
        **scope: Any,
    ) -> None:
        self.client, self.discovery, self.namespace = client, discovery, namespace
        followed = Scope(namespace=namespace, **scope)
        self.follower = Follower(client, discovery, Reducer(HealthRules()), followed, settings)
        self.application = namespace
        self._changed = asyncio.Event()
        self.changes = 0

    def on_change(self, application: str) -> None:
        self.changes += 1
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def apply(self, body: Any) -> str:
        """The uid of the object, which has the marks of the application."""
        placed = {**body, "metadata": {**body["metadata"], "namespace": self.namespace}}
        marks = Marks(piped="p", application=self.application, commit="c", variant=("v", "primary"))
        marked = marks.mark(Manifest(placed)).body
        kind = await self.discovery.find(body["apiVersion"], body["kind"])
        name = body["metadata"]["name"]
        answer = await self.client.apply(kind, self.namespace, name, marked, manager="pipecd")
        return str(answer.object["metadata"]["uid"])

    @property
    def kinds(self) -> list[str]:
        return sorted(item.kind for item in self.follower.objects.tree(self.application))

    @asynccontextmanager
    async def running(self, *kinds: tuple[str, str]) -> AsyncIterator[None]:
        self.follower.want(self.application, kinds)
        task = asyncio.create_task(self.follower.run(self.on_change))
        try:
            await self.follower.wait_until_synced(kinds, TIMEOUT)
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
def following(client: ApiClient, discovery: Discovery, namespace: str) -> Following:
    return Following(client, discovery, namespace)


async def test_objects_that_exist_and_that_appear_are_known_with_what_they_create(
    following: Following,
) -> None:
    def counts() -> list[float]:
        types = ("ADDED", "MODIFIED", "DELETED")
        return [EVENTS.labels(kind, "true")._value.get() for kind in types]

    await following.apply(deployment("web", replicas=2))
    before = counts()
    async with following.running(DEPLOYMENTS, CONFIG_MAPS):
        await following.until(lambda: following.kinds == ["Deployment", "Pod", "Pod", "ReplicaSet"])
        uid = await following.apply(config_map("settings", {"a": "1"}))
        await following.until(lambda: "ConfigMap" in following.kinds)
        seen_before = following.follower.objects.get(uid)
        await following.apply(config_map("settings", {"a": "2"}))
        await following.until(lambda: following.follower.objects.get(uid) is not seen_before)
        known = following.follower.objects.get(uid)
        assert known and seen_before and known.content != seen_before.content
        assert known.identity == ("", "ConfigMap", following.namespace, "settings")
        assert following.follower.is_synced(CONFIG_MAPS)
        kind = await following.discovery.find("v1", "ConfigMap")
        await following.client.delete(kind, following.namespace, "settings", uid=uid)
        await following.until(lambda: "ConfigMap" not in following.kinds)
        assert all(after > count for after, count in zip(counts(), before, strict=True))
    host = following.client.name.removeprefix("https://")
    assert REQUESTS.labels(host, "GET", "200")._value.get() > 0
    assert not following.follower.is_synced(CONFIG_MAPS) and len(following.follower.objects) == 0


async def test_objects_are_found_that_existed_before_their_owner_was_marked(
    client: ApiClient, discovery: Discovery, namespace: str
) -> None:
    """What kubectl applied is taken over, and its pods were dropped as those of others."""
    settings = FollowSettings(max_unclaimed=0, new_age=0.0)
    following = Following(client, discovery, namespace, settings)
    kind = await following.discovery.find("apps/v1", "Deployment")
    await following.client.create(kind, following.namespace, deployment("web"), manager="other")
    async with following.running(DEPLOYMENTS):
        objects = following.follower.objects

        async def has_dropped_pods() -> bool:
            return objects.dropped_unclaimed

        await eventually(has_dropped_pods)
        assert following.kinds == []
        await following.apply(deployment("web"))
        await following.until(lambda: following.kinds == ["Deployment", "Pod", "ReplicaSet"])


async def test_excluded_kinds_are_not_followed(
    client: ApiClient, discovery: Discovery, namespace: str
) -> None:
    following = Following(client, discovery, namespace, excluded=[("", "Pod")])
    await following.apply(deployment("web"))
    async with following.running(DEPLOYMENTS, ("", "Pod")):
        await following.until(lambda: following.kinds == ["Deployment", "ReplicaSet"])
        assert not following.follower.is_synced(("", "Pod"))


async def test_a_kind_that_the_cluster_does_not_have_delays_nothing(following: Following) -> None:
    async with following.running(("example.com", "Missing"), CONFIG_MAPS):
        assert not following.follower.is_synced(("example.com", "Missing"))
        assert "no kind Missing" in str(following.follower.error_of(("example.com", "Missing")))


async def test_nothing_is_known_before_a_cluster_is_followed(following: Following) -> None:
    with pytest.raises(Temporary, match="not listed yet"):
        await following.follower.wait_until_synced([CONFIG_MAPS], 0.1)


async def test_an_object_without_labels_is_read_again_after_an_outage(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = await following.apply(config_map("settings"))
    kind = await following.discovery.find("v1", "ConfigMap")
    operations = [{"op": "remove", "path": "/metadata/labels"}]
    await following.client.json_patch(kind, following.namespace, "settings", operations)
    identity = ("", "ConfigMap", following.namespace, "settings")
    await following.follower.look_up(kind, following.namespace, "settings")
    assert following.follower.unlabelled == {identity: uid}

    async def unreachable(*_: Any, **__: Any) -> Any:
        raise Temporary("the API server cannot be reached")

    with monkeypatch.context() as patched, pytest.raises(Temporary):
        patched.setattr(following.client, "get", unreachable)
        await following.follower.look_up(kind, following.namespace, "settings")
    assert following.follower.unlabelled == {identity: uid}
    await following.client.delete(kind, following.namespace, "settings", uid=uid)
    await following.follower.look_up(kind, following.namespace, "settings")
    assert following.follower.unlabelled == {} and following.follower.objects.get(uid) is None


async def test_a_list_keeps_objects_without_labels_and_lets_them_be_read_at_once(
    following: Following,
) -> None:
    """A list by label does not contain them, when a watch expired for example."""
    uid, gone = await following.apply(config_map("settings")), await following.apply(config_map("gone"))
    kind = await following.discovery.find("v1", "ConfigMap")
    operations = [{"op": "remove", "path": "/metadata/labels"}]
    await following.client.json_patch(kind, following.namespace, "settings", operations)
    identity = ("", "ConfigMap", following.namespace, "settings")
    async with following.running(CONFIG_MAPS):
        follower = following.follower
        await follower.look_up(kind, following.namespace, "settings")
        followed = follower._followed[CONFIG_MAPS]
        assert follower.may_look_up(following.application, identity)
        assert not follower.may_look_up(following.application, identity)
        follower._receive(followed, kind, Listing())
        follower._receive(followed, kind, Synced())
        assert follower.objects.get(uid) and not follower.objects.get(gone)
        assert follower.may_look_up(following.application, identity)


async def test_a_kind_that_is_no_longer_wanted_is_not_followed(following: Following) -> None:
    await following.apply(config_map("settings"))
    await following.apply(deployment("web"))
    async with following.running(DEPLOYMENTS, CONFIG_MAPS):
        await following.until(lambda: {"ConfigMap", "Pod"} <= set(following.kinds))
        follower = following.follower
        task = follower._followed[CONFIG_MAPS].task
        assert task
        follower.want(following.application, [DEPLOYMENTS])
        follower._wake.set()
        await following.until(lambda: "ConfigMap" not in following.kinds)
        await asyncio.wait([task])
        assert task.cancelled() and not follower.is_synced(CONFIG_MAPS)
        assert "Pod" in following.kinds and follower.is_synced(DEPLOYMENTS)
        follower.want(following.application, [DEPLOYMENTS, CONFIG_MAPS])
        await following.until(lambda: "ConfigMap" in following.kinds)


async def test_objects_without_labels_may_be_read_at_once_when_a_cluster_is_followed_again(
    following: Following,
) -> None:
    identity = ("", "ConfigMap", following.namespace, "settings")
    async with following.running(CONFIG_MAPS):
        assert following.follower.may_look_up(following.application, identity)
        assert not following.follower.may_look_up(following.application, identity)
    async with following.running(CONFIG_MAPS):
        assert following.follower.may_look_up(following.application, identity)
