"""An older version runs only if a user asked for it."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipecd.client import Transport
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.sources import choose_source
from pipecd.launcher.desired import OWN_VERSION, TargetSource
from pipecd.model.versions import is_older
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, CallFailed, ControlPlane, control_plane


@dataclass
class Launcher:
    plane: ControlPlane
    piped_id: str
    config: Path

    async def ask_for(self, version: str, *, allow_downgrade: bool = False) -> None:
        """As "Upgrade" in the console."""
        await self.plane.console.call(
            "UpdatePipedDesiredVersion",
            piped_ids=[self.piped_id],
            version=version,
            allow_downgrade=allow_downgrade,
        )

    async def report(self, version: str, package: str = "pipecd") -> None:
        def change(record: Piped) -> None:
            record.version, record.package = version, package

        await self.plane.server.services.store.update(Piped, self.piped_id, change, by=TESTER)

    async def target(self, last_stable: str, *, allow_downgrade: bool = False) -> str:
        targets = TargetSource(
            choose_source({"--config-file": str(self.config)}),
            Transport(insecure=True),
            SYSTEM_CLOCK,
            default="",
            last_version=last_stable,
            last_stable=lambda: last_stable,
            allow_downgrade=allow_downgrade,
        )
        try:
            return (await targets.fetch()).version
        finally:
            await targets.close()


@pytest.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[Launcher]:
    async with control_plane(tmp_path) as plane:
        piped_id, key = await plane.register_piped()
        spec = {
            "projectID": PROJECT,
            "pipedID": piped_id,
            "pipedKeyData": base64.b64encode(key.encode()).decode(),
            "apiAddress": plane.address,
        }
        config = tmp_path / "piped.yaml"
        config.write_text(json.dumps({"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": spec}))
        yield Launcher(plane, piped_id, config)


async def test_a_downgrade_needs_a_confirmation(launcher: Launcher) -> None:
    await launcher.ask_for("v9.1.0")
    assert await launcher.target("v9.0.0") == "v9.1.0"
    assert await launcher.target("v9.1.0") == "v9.1.0"
    assert await launcher.target("v9.2.0") == "v9.2.0", "the version that runs"
    assert await launcher.target("v9.2.0", allow_downgrade=True) == "v9.1.0", "an option of the launcher"
    await launcher.ask_for("v9.1.0", allow_downgrade=True)
    assert await launcher.target("v9.2.0") == "v9.1.0"
    await launcher.ask_for("v9.1.5")
    assert await launcher.target("v9.2.0") == "v9.2.0", "a confirmation is for one version"
    assert await launcher.target("v9.1.0") == "v9.1.5"


async def test_the_launchers_own_version_is_the_default(launcher: Launcher) -> None:
    assert await launcher.target(OWN_VERSION) == OWN_VERSION


async def test_the_control_plane_asks_for_the_confirmation(launcher: Launcher) -> None:
    await launcher.report("9.2.0")
    with pytest.raises(CallFailed, match=r"v9\.1\.0 is older than 9\.2\.0, which piped home runs; confirm"):
        await launcher.ask_for("v9.1.0")
    await launcher.ask_for("v9.1.0", allow_downgrade=True)
    await launcher.ask_for("v9.3.0")


async def test_our_version_is_not_for_agents_of_pipecd(launcher: Launcher) -> None:
    """Their launcher would install PipeCD's release of that number."""

    async def offered() -> list[str]:
        return list((await launcher.plane.console.call("ListReleasedVersions")).versions)

    assert await offered() == [OWN_VERSION], "no agent has connected yet"
    await launcher.report("v0.52.0", package="")
    assert await offered() == []
    for allow_downgrade in (False, True):
        with pytest.raises(CallFailed, match="is PipeCD's, which has no version"):
            await launcher.ask_for(OWN_VERSION, allow_downgrade=allow_downgrade)
    await launcher.ask_for("v0.53.0")
    await launcher.report("0.0.1", package="pipecd")
    assert await offered() == [OWN_VERSION]
    await launcher.ask_for(OWN_VERSION)


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("v0.2.1", "v0.10.0", True),
        ("v0.10", "v0.10.0", False),
        ("0.1.0", "v0.52.0-12-g1a2b3c4", True),
        ("v1.0.0", "v0.9.9", False),
        ("v0.2.0rc1", "v0.2.0", False),
        ("main", "v0.1.0", False),
        ("v0.1.0", "", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older
