"""Two servers of the control plane on PostgreSQL behind nginx.

How soon a change at one server is known to an agent at the other, and what it costs that a server is killed
every ten seconds while agents write logs: how soon streams are back, and whether a line is lost.
"""

import asyncio
import itertools
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.figures import report, report_value
from tests.contracts import postgres
from tests.controlplane.test_agents import Agent
from tests.faults.replicas import NGINX, Replicas, Stream, start_replicas
from tests.faults.test_store_outages import Reporter, prepare, stored_lines

#: Changes whose notice is measured.
CHANGES = 200
#: Agents with a stream, and writers of logs.
STREAMS, REPORTERS = 20, 8
#: Seconds between two kills, and of all.
INTERVAL, DURATION = 10.0, 300.0
#: Maxima in seconds.
NOTICE, RETURN = 0.05, 2.0


async def run(folder: Path) -> None:
    if postgres.binary("initdb") is None or NGINX.missing():
        print("PostgreSQL or nginx is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as name, postgres.cluster(Path(name)) as url:
        async with start_replicas(folder, url, NGINX) as replicas:
            await _measure_notices(replicas)
            await _measure_kills(replicas)


async def _measure_notices(replicas: Replicas) -> None:
    registered = await replicas.console.call("RegisterPiped", name="notices")
    async with replicas.direct_channel(0) as writing, replicas.direct_channel(1) as watching:
        writer = Agent(writing, registered.id, registered.key, "process-1")
        watcher = Agent(watching, registered.id, registered.key, "process-1")
        stream = Stream(lambda: watcher.watch("process-1"))
        reading = asyncio.create_task(stream.run())
        await stream.wait_until_granted(1)
        plane: Any = SimpleNamespace(console=replicas.console)
        await prepare(plane, writer)
        (application,) = (await replicas.console.call("ListApplications")).applications
        http = f"http://127.0.0.1:{replicas.servers[0][1]}"
        replicas.console.base, proxy = http, replicas.console.base
        replicas.console.http.cookies.clear()
        await replicas.console.sign_in()
        times = []
        for number in range(CHANGES):
            while not stream.announced.empty():
                stream.announced.get_nowait()
            method = "EnableApplication" if number % 2 else "DisableApplication"
            await replicas.console.call(method, application_id=application.id)
            written = time.monotonic()
            await stream.announced.get()
            times.append(time.monotonic() - written)
            await asyncio.sleep(0.02)
        replicas.console.base = proxy
        replicas.console.http.cookies.clear()
        await replicas.console.sign_in()
        reading.cancel()
    report("change at one replica → agent at another", times, "s", target=NOTICE)


async def _measure_kills(replicas: Replicas) -> None:
    codes: Counter[str] = Counter()
    returned: list[float] = []
    async with replicas.channel() as channel:
        agents = []
        for number in range(STREAMS):
            registered = await replicas.console.call("RegisterPiped", name=f"agent-{number}")
            agents.append(Agent(channel, registered.id, registered.key))
        plane: Any = SimpleNamespace(console=replicas.console)
        (application,) = (await replicas.console.call("ListApplications")).applications
        (piped,) = (
            p for p in (await replicas.console.call("ListPipeds")).pipeds if p.id == application.piped_id
        )
        key = await replicas.console.call("RecreatePipedKey", id=piped.id)
        writer = Agent(channel, piped.id, key.key)
        reporters = [Reporter(writer, attempt, codes) for attempt in range(REPORTERS)]
        streams = [Stream(lambda agent=agent: agent.watch("process-1")) for agent in agents]  # type: ignore[misc]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(stream.run()) for stream in streams]
            for stream in streams:
                await stream.wait_until_granted(1)
            tasks += [group.create_task(reporter.run()) for reporter in reporters]
            ends_at = time.monotonic() + DURATION
            for number in itertools.cycle((0, 1)):
                if time.monotonic() >= ends_at:
                    break
                await asyncio.sleep(INTERVAL / 2)
                granted = [stream.granted for stream in streams]
                replicas.kill(number)
                killed = time.monotonic()
                await asyncio.sleep(INTERVAL / 2)
                returned += [
                    stream.granted_at - killed
                    for stream, count in zip(streams, granted, strict=True)
                    if stream.granted > count
                ]
                await replicas.start(number)
            for task in tasks:
                task.cancel()
        lost = 0
        for attempt, reporter in enumerate(reporters):
            last = Reporter(writer, attempt, codes)
            last.reported = reporter.reported
            await last.report(completed=True)
            lines = await stored_lines(plane, attempt)
            lost += len(set(range(1, reporter.reported + 4)) - set(lines)) + len(lines) - len(set(lines))
    calls = sum(codes.values())
    report("stream back after its replica was killed", returned, "s", target=RETURN)
    report_value(f"lines lost or doubled, of {sum(r.reported for r in reporters)}", lost, "", maximum=0)
    report_value(f"calls to be repeated, of {calls}", calls - codes["OK"], "")
