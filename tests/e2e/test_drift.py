"""The world is changed behind the agent's back: it is seen, told, and put right."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.drift import Drift
from pipecd.model.look import Look
from pipecd.model.status import SyncStatus
from pipecd.platforms.terraform import platform
from tests.eventually import eventually
from tests.platforms.terraform.shop import configuration, data, values
from tests.world import World, app_file, pipeline, world

PROVIDERS = [{"name": "terraform", "type": "TERRAFORM", "config": {"binary": "embedded"}}]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "drift_interval", 1.0)


def tampered(state: Path, value: str) -> None:
    """As if somebody had changed the thing by hand, and Terraform had read it back."""
    document = json.loads(state.read_text())
    for resource in document["resources"]:
        for at in ("input", "output"):
            resource["instances"][0]["attributes"][at]["value"] = value
    document["serial"] += 1
    # A look at the state may come at any moment: it must not find half of it.
    fresh = state.with_name("tampered")
    fresh.write_text(json.dumps(document))
    fresh.replace(state)


async def status(w: World, app: str, wanted: SyncStatus, words: str = "") -> Any:
    async def look() -> Any:
        state = await w.state(app)
        assert SyncStatus(state.status) is wanted, (SyncStatus(state.status), state.reason)
        assert words in state.short_reason, state.short_reason
        return state

    return await eventually(look)


async def test_terraform_drift_is_seen_told_and_healed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    files = {"app.pipecd.yaml": app_file(), "main.tf": configuration(state, data("door", "open"))}
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        app = await w.application("shop", files)
        await w.ended(app)
        await status(w, app, SyncStatus.SYNCED, "What runs")

        tampered(state, "shut")
        seen = await status(w, app, SyncStatus.OUT_OF_SYNC)
        assert seen.short_reason == "Differs from Git: 0 to add, 1 to change, 0 to destroy"
        assert "terraform_data.door" in seen.reason
        assert '"shut" -> "open"' in seen.reason
        assert values(state) == {"door": "shut"}
        assert len(await w.deployments(app)) == 1

        command = await w.console.call("SyncApplication", application_id=app)
        assert command.command_id
        await eventually(lambda: _count(w, app, 2))
        await w.ended(app)
        assert values(state) == {"door": "open"}
        await status(w, app, SyncStatus.SYNCED, "What runs")


async def test_a_commit_that_is_not_deployed_by_itself_is_drift(tmp_path: Path) -> None:
    state = tmp_path / "state"
    file = app_file(trigger={"onCommit": {"disabled": True}})
    files = {"app.pipecd.yaml": file, "main.tf": configuration(state, data("door", "open"))}
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        app = await w.application("shop", files)
        seen = await status(w, app, SyncStatus.OUT_OF_SYNC)
        assert "1 to add" in seen.short_reason
        assert not await w.deployments(app)


async def test_drift_heals_itself_where_the_application_asks_for_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    file = app_file(trigger={"onOutOfSync": {"disabled": False, "minWindow": "1s"}})
    files = {"app.pipecd.yaml": file, "main.tf": configuration(state, data("door", "open"))}
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS, syncInterval="1s"):
        app = await w.application("shop", files)
        await w.ended(app)
        tampered(state, "shut")
        await eventually(lambda: _count(w, app, 2))
        await w.ended(app)
        assert values(state) == {"door": "open"}


async def test_what_is_ignored_is_no_drift(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ignored = ["terraform:terraform_data::door#input", "terraform:terraform_data::door#output"]
    file = app_file(driftDetection={"ignoreFields": ignored})
    body = data("door", "open") + data("wall", "red")
    files = {"app.pipecd.yaml": file, "main.tf": configuration(state, body)}
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        app = await w.application("shop", files)
        await w.ended(app)
        tampered(state, "shut")
        seen = await status(w, app, SyncStatus.OUT_OF_SYNC)
        assert seen.short_reason.endswith("1 to change, 0 to destroy (1 more only in ignored fields)")


async def test_what_was_seen_before_a_deployment_is_not_told_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[asyncio.Event] = []

    async def slow(_: Look) -> Drift:
        looks.append(asyncio.Event())
        await looks[-1].wait()
        return Drift(summary="Differs from Git: as it was long ago")

    monkeypatch.setattr(platform, "drift", slow)
    file = pipeline("true", trigger={"onCommit": {"disabled": True}})
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        app = await w.application("shop", {"app.pipecd.yaml": file})

        async def looked(times: int) -> bool:
            return len(looks) == times

        await eventually(lambda: looked(1))
        await w.console.call("SyncApplication", application_id=app)
        await status(w, app, SyncStatus.SYNCED, "The last deployment succeeded")
        looks[0].set()
        # One look at an application at a time: the first has told what it had to tell.
        await eventually(lambda: looked(2))
        assert (await w.state(app)).short_reason == "The last deployment succeeded"
        looks[1].set()
        await status(w, app, SyncStatus.OUT_OF_SYNC, "as it was long ago")


async def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    state = tmp_path / "state"
    files = {"app.pipecd.yaml": app_file(), "main.tf": configuration(state, 'resource "nonsense" {}\n')}
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        app = await w.application("shop", files)
        seen = await status(w, app, SyncStatus.UNKNOWN, "could not be compared")
        assert "nonsense" in seen.reason or "main.tf" in seen.reason


async def _count(w: World, app: str, count: int) -> bool:
    return len(await w.deployments(app)) == count
