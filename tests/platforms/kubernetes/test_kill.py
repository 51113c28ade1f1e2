"""The agent is killed at every await of every stage. Afterwards everything is as without kills."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Done, Failed, Outcome, Work
from pipecd.platforms.kubernetes.settings import StageSettings
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment


class EveryAwait:
    """Kills the agent at the first await of a stage, then at the second one, and so on.

    Awaits are those of the stage and of all tasks that it starts. What a call has done in the cluster stays,
    and what it returned is lost; so each call repeats the one before, and gets one await further. A request
    that was sent may still take effect. When a call returns before its next await, it is killed once more
    between its effects and the storing of its outcome.
    """

    def __init__(self) -> None:
        self.kills = 0
        self._next, self._remaining = 1, 0
        self._task: asyncio.Task[Any] | None = None

    async def __call__(self, stage: Any, work: Work[Any]) -> Outcome | None:
        loop = asyncio.get_running_loop()
        self._remaining = self._next
        loop.set_task_factory(self._counted_task)
        try:
            self._task = asyncio.create_task(stage(work))
            await asyncio.wait([self._task])
        finally:
            loop.set_task_factory(None)
        if self._remaining <= 0:
            self.kills += 1
            self._next += 1
            # Its result is lost, also if it did not notice that it was cancelled.
            self._task.cancelled() or self._task.exception()
            return None
        self._next = 1
        return self._task.result()  # type: ignore[no-any-return]

    def _counted_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(_run(coro, self._suspended), loop=loop, **options)
        # It may be cancelled before it begins.
        task.add_done_callback(lambda _: coro.close())
        return task

    def _suspended(self) -> None:
        self._remaining -= 1
        if self._remaining == 0 and self._task:
            self._task.cancel()


async def _run(coro: Coroutine[Any, Any, Any], suspended: Callable[[], None]) -> Any:
    return await _Observed(coro, suspended)


@dataclass(frozen=True)
class _Observed:
    """Runs a coroutine. Calls `suspended` each time that it awaits something that is not done."""

    coro: Coroutine[Any, Any, Any]
    suspended: Callable[[], None]

    def __await__(self) -> Generator[Any, Any, Any]:
        send, value = self.coro.send, None
        while True:
            try:
                awaited = send(value)
            except StopIteration as stop:
                return stop.value
            self.suspended()
            try:
                value, send = (yield awaited), self.coro.send
            except BaseException as error:  # noqa: BLE001
                value, send = error, self.coro.throw


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path, StageSettings(call_duration=0.5))


def state(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = {item["metadata"]["name"]: item.get("data") for item in shop.list("configmaps")}
    live = shop.get("deployments", "web")
    found["web"] = live["spec"]["template"]["spec"]["containers"][0]["image"], live["metadata"]["generation"]
    return found


async def test_kills_at_every_await_change_nothing(shop: Shop) -> None:
    prune: dict[str, Any] = {"quickSync": {"prune": True}}
    quick: dict[str, Any] = {"input": {"waitForReady": False}, **prune}
    first = shop.commit(deployment("web", "web:1"), config_map("a", {"x": "1"}), config_map("b"), **prune)
    second = shop.commit(deployment("web", "web:2"), config_map("a", {"y": "2"}), config_map("c"), **quick)
    broken = shop.commit(deployment("web", "web:nopull", deadline=1), config_map("a"), config_map("d"))
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert state(shop) == {"a": {"x": "1"}, "b": None, "web": ("web:1", 1)}
    runner = runner.next_deployment(second)
    killer = EveryAwait()
    assert_succeeded(await runner.run("K8S_SYNC", killer=killer, limit=1000))
    after_second = {"a": {"y": "2"}, "c": None, "web": ("web:2", 2)}
    assert state(shop) == after_second and killer.kills > 30
    runner = runner.next_deployment(broken)
    assert isinstance(await runner.run("K8S_SYNC"), Failed)
    assert state(shop).keys() == {*after_second, "d"}
    killer = EveryAwait()
    outcome = await runner.run("ROLLBACK", killer=killer, limit=1000)
    assert isinstance(outcome, Done) and killer.kills > 10
    assert state(shop) == {**after_second, "web": ("web:2", 4)}
