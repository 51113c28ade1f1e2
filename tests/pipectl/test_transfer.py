"""`pipectl transfer`: agents and applications of one project become those of another.

The commands are called as functions: starting the program for each would take seconds.
"""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from pipecd.client import ApiKey, Client, Transport, connect
from pipecd.errors import ConfigError, Conflict
from pipecd.pipectl import migrations, transfers
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.controlplane.server_fixture import Console, ControlPlane
from tests.pipectl.pipectl_process import REMOTE


def add_repository(record: Piped) -> None:
    """As the agent does when it connects."""
    record.repositories.append(ApplicationGitRepository(id="demo", remote=REMOTE, branch="main"))


async def run(command: click.Command, client: Client, **options: Any) -> None:
    await command.callback.__wrapped__(client, **options)  # type: ignore[union-attr]


async def test_agents_and_applications_are_moved_to_another_control_plane(
    plane: ControlPlane,
    client: Client,
    piped_id: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, labels in (("shop", {"env": "prod"}), ("cart", {}), ("old", {})):
        path = ApplicationGitPath(
            repo=ApplicationGitRepository(id="demo"), path=name, config_filename="app.pipecd.yaml"
        )
        added = await plane.console.call(
            "AddApplication",
            name=name,
            piped_id=piped_id,
            kind=TERRAFORM,
            platform_provider="tf",
            git_path=path,
            labels=labels,
        )
        if name == "old":
            await plane.console.call("DisableApplication", application_id=added.application_id)
    other = Console(plane.url)
    await other.sign_in("other")
    key = (await other.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)).key
    target = await connect(plane.address, ApiKey(key=key), Transport(insecure=True))
    capsys.readouterr()

    backup, mapping = tmp_path / "backup.json", tmp_path / "mapping.json"
    await run(transfers.backup, client, output_file=backup, labels=())
    assert "1 piped and 3 applications" in capsys.readouterr().out
    assert backup.stat().st_mode & 0o077 == 0
    document = json.loads(backup.read_text())
    # As Go writes it: field names of the schema, numbers for enums and times.
    shop = next(item for item in document["applications"] if item["name"] == "shop")
    assert (document["version"], shop["kind"], type(shop["created_at"])) == ("1", TERRAFORM, int)

    await run(transfers.restore_piped, target, input_file=backup, output_file=mapping)
    await run(transfers.restore_piped, target, input_file=backup, output_file=mapping)
    assert "registered already" in capsys.readouterr().err
    (moved,) = json.loads(mapping.read_text())["piped_mappings"]
    assert moved["old_piped_id"] == piped_id != moved["new_piped_id"]
    assert moved["new_key"] and mapping.stat().st_mode & 0o077 == 0

    async def restore(*labels: str) -> str:
        try:
            await run(
                transfers.restore_application,
                target,
                input_file=backup,
                piped_id_mapping_file=mapping,
                labels=labels,
            )
        except Conflict as error:
            return str(error)
        return capsys.readouterr().out.splitlines()[-1]

    assert "some applications were not restored" in await restore(), "the agent has reported no repositories"
    await plane.server.services.store.update(Piped, moved["new_piped_id"], add_repository, by=TESTER)
    capsys.readouterr()
    assert await restore("env=prod") == "Applications: 1 restored, 0 existed already, 0 failed"
    assert await restore() == "Applications: 2 restored, 1 existed already, 0 failed"
    restored = {item.name: item for item in (await other.call("ListApplications")).applications}
    assert restored.keys() == {"shop", "cart", "old"}
    assert restored["old"].disabled and not restored["cart"].disabled
    assert dict(restored["shop"].labels) == {"env": "prod"}
    await target.close()

    for expected in ("is deployed by the plugin terraform to tf", "has deploy targets already"):
        await run(migrations.database, client, applications=("shop,cart",))
        printed = capsys.readouterr().out.splitlines()
        assert f"shop {expected}" in printed and f"cart {expected}" in printed


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"version": "2", "pipeds": []}', '{"version": "1", "pipeds": [7]}', "[" * 9999],
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text(content)
    with pytest.raises(ConfigError, match="--input-file") as error:
        transfers._read_records(file, "pipeds", Piped)
    assert error.value.remedy
    with pytest.raises(ConfigError, match="--output-file") as error:
        transfers._read_mappings(file, "--output-file")
    assert error.value.remedy
