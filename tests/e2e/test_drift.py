"""Drift after changes outside of PipeCD: detected, reported, and corrected."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipecd.model.drift import Drift
from pipecd.model.observation import ObservationRequest
from pipecd.model.status import SyncStatus
from pipecd.piped.settings import DriftSettings
from tests.eventually import eventually
from tests.platforms.altered import alter_platform
from tests.platforms.terraform.shop import configuration, data, values
from tests.world import SETTINGS, World, app_file, pipeline, world

SHORT_INTERVAL = replace(SETTINGS, drift=DriftSettings(interval=1.0))
PROVIDERS = [{"name": "terraform", "type": "TERRAFORM"}]


def tamper(state: Path, value: str) -> None:
    """Changes the state as if the resource had been changed manually and refreshed."""
    document = json.loads(state.read_text())
    for resource in document["resources"]:
        for attribute in ("input", "output"):
            resource["instances"][0]["attributes"][attribute]["value"] = value
    document["serial"] += 1
    # The agent may read the state at any time: replace it atomically.
    new_state = state.with_name("tampered")
    new_state.write_text(json.dumps(document))
    new_state.replace(state)


async def test_terraform_drift_is_detected_and_corrected_by_a_sync(tmp_path: Path) -> None:
    state = tmp_path / "state"
    files = {"app.pipecd.yaml": app_file(), "main.tf": configuration(state, data("door", "open"))}
    async with world(tmp_path) as w, w.agent(settings=SHORT_INTERVAL, platformProviders=PROVIDERS):
        app = await w.add_application("shop", files)
        await w.wait_for_deployment(app)
        await w.wait_for_sync_status(app, SyncStatus.SYNCED, short_reason="The live state matches Git")

        tamper(state, "shut")
        reported = await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC)
        assert reported.short_reason == "Differs from Git: 0 to add, 1 to change, 0 to destroy"
        assert "terraform_data.door" in reported.reason
        assert '"shut" -> "open"' in reported.reason
        assert values(state) == {"door": "shut"}
        assert len(await w.deployments(app)) == 1

        command = await w.console.call("SyncApplication", application_id=app)
        assert command.command_id
        await eventually(lambda: _has_deployments(w, app, 2))
        await w.wait_for_deployment(app)
        assert values(state) == {"door": "open"}
        await w.wait_for_sync_status(app, SyncStatus.SYNCED, short_reason="The live state matches Git")


async def test_commit_that_is_not_deployed_automatically_is_drift(tmp_path: Path) -> None:
    state = tmp_path / "state"
    file = app_file(trigger={"onCommit": {"disabled": True}})
    files = {"app.pipecd.yaml": file, "main.tf": configuration(state, data("door", "open"))}
    async with world(tmp_path) as w, w.agent(settings=SHORT_INTERVAL, platformProviders=PROVIDERS):
        app = await w.add_application("shop", files)
        reported = await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC)
        assert "1 to add" in reported.short_reason
        assert not await w.deployments(app)


async def test_drift_is_corrected_automatically_if_configured(tmp_path: Path) -> None:
    state = tmp_path / "state"
    file = app_file(trigger={"onOutOfSync": {"disabled": False, "minWindow": "1s"}})
    files = {"app.pipecd.yaml": file, "main.tf": configuration(state, data("door", "open"))}
    async with (
        world(tmp_path) as w,
        w.agent(settings=SHORT_INTERVAL, platformProviders=PROVIDERS, syncInterval="1s"),
    ):
        app = await w.add_application("shop", files)
        await w.wait_for_deployment(app)
        tamper(state, "shut")
        await eventually(lambda: _has_deployments(w, app, 2))
        await w.wait_for_deployment(app)
        assert values(state) == {"door": "open"}


async def test_ignored_fields_are_not_drift(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ignored = ["terraform:terraform_data::door#input", "terraform:terraform_data::door#output"]
    file = app_file(driftDetection={"ignoreFields": ignored})
    body = data("door", "open") + data("wall", "red")
    files = {"app.pipecd.yaml": file, "main.tf": configuration(state, body)}
    async with world(tmp_path) as w, w.agent(settings=SHORT_INTERVAL, platformProviders=PROVIDERS):
        app = await w.add_application("shop", files)
        await w.wait_for_deployment(app)
        tamper(state, "shut")
        reported = await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC)
        assert reported.short_reason.endswith("1 to change, 0 to destroy (1 more only in ignored fields)")


async def test_drift_result_from_before_a_deployment_is_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[asyncio.Event] = []

    async def slow_detect_drift(_: ObservationRequest) -> Drift:
        checks.append(asyncio.Event())
        await checks[-1].wait()
        return Drift(summary="Differs from Git: old state")

    alter_platform(monkeypatch, "TERRAFORM", compares={"detect": slow_detect_drift})
    file = pipeline("true", trigger={"onCommit": {"disabled": True}})
    async with world(tmp_path) as w, w.agent(settings=SHORT_INTERVAL, platformProviders=PROVIDERS):
        app = await w.add_application("shop", {"app.pipecd.yaml": file})

        async def check_count_is(count: int) -> bool:
            return len(checks) == count

        await eventually(lambda: check_count_is(1))
        await w.console.call("SyncApplication", application_id=app)
        await w.wait_for_sync_status(app, SyncStatus.SYNCED, short_reason="The last deployment succeeded")
        checks[0].set()
        # Checks of an application do not overlap: the first one has completed.
        await eventually(lambda: check_count_is(2))
        assert (await w.sync_state(app)).short_reason == "The last deployment succeeded"
        checks[1].set()
        await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC, short_reason="old state")


async def test_failed_comparison_reports_the_reason(tmp_path: Path) -> None:
    state = tmp_path / "state"
    files = {"app.pipecd.yaml": app_file(), "main.tf": configuration(state, 'resource "nonsense" {}\n')}
    async with world(tmp_path) as w, w.agent(settings=SHORT_INTERVAL, platformProviders=PROVIDERS):
        app = await w.add_application("shop", files)
        reported = await w.wait_for_sync_status(app, SyncStatus.UNKNOWN, short_reason="could not be compared")
        assert "nonsense" in reported.reason or "main.tf" in reported.reason


async def _has_deployments(w: World, app: str, count: int) -> bool:
    return len(await w.deployments(app)) == count
