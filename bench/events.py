"""Event → commit, with a control plane and an agent: one event at a time, and 200 for one branch at once.

Times are measured in the control plane's change feed, from the begin of the registration until the agent has
reported the commit that it pushed.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from bench.figures import report, report_value
from pipecd.client import ApiKey, Client, Transport, connect
from pipecd.controlplane.store.feed import Change
from pipecd.schema.api.events_pb2 import RegisterEventRequest
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.event_pb2 import Event, EventStatus
from tests.world import World, world

RUNS, EVENTS = 30, 200
#: Seconds until the benchmark gives up.
PATIENCE = 120.0


async def run(folder: Path) -> None:
    async with world(folder) as w:
        names = [f"image-{number}" for number in range(EVENTS)]
        await w.push("Watch", {".pipe/events.yaml": _watches(names), "values.yaml": _values(names)})
        async with w.agent():
            client = await _client(w)
            await _measure(w, client, {names[0]: "first"})
            times = [await _measure(w, client, {names[0]: f"v{number}"}) for number in range(RUNS)]
            report("event → commit", times, "s", target=1.0)
            seconds = await _measure(w, client, dict.fromkeys(names, "new"))
            report_value(f"{EVENTS} events on one branch → all committed", seconds, "s", maximum=20.0)
            await client.close()
        values = await asyncio.to_thread(_read_values, w)
        assert values == dict.fromkeys(names, "new"), values


def _watches(names: list[str]) -> str:
    events = [
        {"name": name, "replacements": [{"file": "values.yaml", "yamlField": f"$.{name}"}]} for name in names
    ]
    document = {"apiVersion": "pipecd.dev/v1beta1", "kind": "EventWatcher", "spec": {"events": events}}
    return yaml.safe_dump(document)


def _values(names: list[str]) -> str:
    return "".join(f"{name}: old\n" for name in names)


async def _client(w: World) -> Client:
    key = (await w.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)).key
    return await connect(w.plane.address, ApiKey(key=key), Transport(insecure=True))


async def _register(client: Client, name: str, data: str) -> str:
    request = RegisterEventRequest(name=name, data=data)
    return (await client.call(client.api.RegisterEvent, request)).event_id


async def _measure(w: World, client: Client, values: Mapping[str, str]) -> float:
    """Seconds until the events (name → data) are handled."""
    store = w.plane.server.services.store
    with store.feed.subscribe() as changes:
        started = time.monotonic()
        pending = set(await asyncio.gather(*(_register(client, name, data) for name, data in values.items())))
        async with asyncio.timeout(PATIENCE):
            while pending:
                change: Change = await changes.get()
                if change.kind != "event" or change.id not in pending:
                    continue
                event = (await store.get(Event, change.id)).message
                if event.status != EventStatus.EVENT_NOT_HANDLED:
                    assert event.status == EventStatus.EVENT_SUCCESS, event
                    pending.discard(event.id)
        return time.monotonic() - started


def _read_values(w: World) -> dict[str, str]:
    w.clone.git("pull", "--quiet", "--rebase", "origin", "main")
    values: dict[str, str] = yaml.safe_load((w.clone.path / "values.yaml").read_text())
    return values
