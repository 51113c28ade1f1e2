"""Two servers behind a proxy, of which one is killed at a time: nothing that was acknowledged is lost."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contracts.conftest import empty_postgres_url as empty_postgres_url
from tests.contracts.conftest import postgres_url as postgres_url
from tests.controlplane.test_agents import Agent
from tests.faults.replicas import ENVOY, NGINX, Proxy, Stream, start_replicas
from tests.faults.test_store_outages import Reporter, prepare, progress, stored_lines

REPORTERS = 4


@pytest.mark.parametrize("proxy", [NGINX, ENVOY], ids=["nginx", "envoy"])
async def test_a_killed_server_loses_no_write_and_streams_return(
    empty_postgres_url: str, tmp_path: Path, proxy: Proxy
) -> None:
    if missing := proxy.missing():
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, but CI requires it")
        pytest.skip(missing)
    async with start_replicas(tmp_path, empty_postgres_url, proxy) as replicas, replicas.channel() as channel:
        registered = await replicas.console.call("RegisterPiped", name="home")
        agent = Agent(channel, registered.id, registered.key)
        plane: Any = SimpleNamespace(console=replicas.console)
        await prepare(plane, agent)
        stream = Stream(lambda: agent.watch("process-1"))
        codes: Counter[str] = Counter()
        reporters = [Reporter(agent, attempt, codes) for attempt in range(REPORTERS)]
        async with asyncio.TaskGroup() as group, asyncio.timeout(300):
            tasks = [group.create_task(stream.run())]
            await stream.wait_until_granted(1)
            tasks += [group.create_task(reporter.run()) for reporter in reporters]
            await progress(reporters)
            for number in (0, 1):
                replicas.kill(number)
                await progress(reporters)
                # Whichever server the stream was connected to: the change reaches the agent.
                await _announce(replicas.console, agent, stream)
                await replicas.start(number)
            for task in tasks:
                task.cancel()
        assert set(codes) <= {"OK", "UNAVAILABLE"}, codes
        assert stream.granted >= 2, "one of the servers had the stream"
        for attempt, reporter in enumerate(reporters):
            last = Reporter(agent, attempt, codes)
            last.reported = reporter.reported
            await last.report(completed=True)
            assert await stored_lines(plane, attempt) == list(range(1, reporter.reported + 4))


async def _announce(console: Any, agent: Agent, stream: Stream) -> None:
    """Change the application until its agent is notified: the stream may be about to reconnect."""
    (application,) = (await console.call("ListApplications")).applications
    for _ in range(1000):
        await console.call("DisableApplication", application_id=application.id)
        await console.call("EnableApplication", application_id=application.id)
        try:
            async with asyncio.timeout(1):
                assert await stream.announced.get() == application.id
                return
        except TimeoutError:
            continue
    raise AssertionError("the agent was not notified")
