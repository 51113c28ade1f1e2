"""Files are packed with a plan, and the shared plugin cache is locked."""

import asyncio
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import Refused
from pipecd.model.stage import Done, Outcome, Source, Work
from pipecd.platforms.terraform.folder import Folder, FolderLimits, lock_plugin_cache
from pipecd.platforms.terraform.terraform import open_terraform
from tests.platforms.terraform.shop import app_file, data, shop_runner


def checkout(root: Path) -> Source:
    (root / "app").mkdir(parents=True)
    (root / "app" / "main.tf").write_text("")
    (root / "app" / "old.zip").write_text("old")
    return Source(commit="c", root=root, directory=root / "app", config=None)


def test_files_generated_or_changed_by_planning_are_packed(tmp_path: Path) -> None:
    first = Folder(checkout(tmp_path / "first"), "a")
    first.record_files()
    first.plan.write_bytes(b"plan")
    first.data.mkdir()
    (first.data / "large").write_bytes(bytes(1000))
    (first.directory / "old.zip").write_text("new!")
    (first.directory / "made").mkdir()
    (first.directory / "made" / "run.sh").write_text("#!/bin/sh\n")
    (first.directory / "made" / "run.sh").chmod(0o755)

    second = Folder(checkout(tmp_path / "second"), "a")
    second.unpack(first.pack())
    assert second.plan.read_bytes() == b"plan"
    assert (tmp_path / "second/app/old.zip").read_text() == "new!"
    assert os.access(tmp_path / "second/app/made/run.sh", os.X_OK)
    assert not second.data.exists()
    assert second.directory == first.directory, "both checkouts have the same path"
    assert (second.directory / "main.tf").samefile(tmp_path / "second/app/main.tf")


def test_each_application_has_its_own_folder(tmp_path: Path) -> None:
    source = checkout(tmp_path / "one")
    assert Folder(source, "a").directory != Folder(source, "b").directory


def test_too_many_generated_files_are_refused(tmp_path: Path) -> None:
    folder = Folder(checkout(tmp_path / "first"), "a", FolderLimits(max_generated=1 << 20))
    folder.record_files()
    folder.plan.write_bytes(b"plan")
    (folder.directory / "huge").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(Refused, match="more than 1 MiB of files"):
        folder.pack()


async def test_init_runs_without_the_plugin_cache_after_a_timeout(tmp_path: Path) -> None:
    limits = FolderLimits(plugin_cache_timeout=0.01)
    async with (
        lock_plugin_cache(tmp_path / "cache") as first,
        lock_plugin_cache(tmp_path / "cache", limits) as second,
    ):
        assert (first, second) == (True, False)
    async with lock_plugin_cache(tmp_path / "cache") as third:
        assert third


def write_mirror(folder: Path) -> Path:
    """A Terraform CLI configuration with a mirror of the provider `example/paint`."""
    packages = folder / "mirror/registry.terraform.io/example/paint"
    packages.mkdir(parents=True)
    with zipfile.ZipFile(packages / "terraform-provider-paint_1.0.0_linux_amd64.zip", "w") as package:
        package.writestr("terraform-provider-paint_v1.0.0", bytes(5_000_000))
    settings = folder / "terraformrc"
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{folder}/mirror"\n  }}\n}}\n'
    )
    return settings


async def prepare(work: Work[Any]) -> Outcome:
    """A stage that ends after `init`, because the provider is not an executable program."""
    terraform = await open_terraform(work, await work.checkouts.target())
    await terraform.prepare()
    lock = (terraform.folder.directory / ".terraform.lock.hcl").read_text()
    installed = [path.name for path in (terraform.folder.data / "providers").iterdir()]
    return Done(saved={"lock": lock, "installed": " ".join(installed)})


async def test_one_plugin_cache_serves_all_applications_and_the_lock_file_is_complete(tmp_path: Path) -> None:
    requirements = (
        'terraform {\n  required_providers {\n    paint = {\n      source = "example/paint"\n    }\n  }\n}\n'
    )
    file = app_file(commandEnvs={"init": [f"TF_CLI_CONFIG_FILE={write_mirror(tmp_path)}"]})
    async with shop_runner(
        tmp_path, data("a", "1"), file=file, files={"requirements.tf": requirements}
    ) as runner:
        runners = [runner.at(runner.deployment.trigger.commit.hash, deployment_id=name) for name in "xyz"]
        for other in runners:
            other.deployment = replace(other.deployment, application_id=other.deployment.id)
        async with asyncio.timeout(400), asyncio.TaskGroup() as tasks:
            done = [tasks.create_task(other.run("PREPARE", prepare)) for other in runners]
        assert {task.result().saved["installed"] for task in done} == {"registry.terraform.io"}
        locks = {task.result().saved["lock"] for task in done}
        assert len(locks) == 1
        assert "h1:" in locks.pop()
        cached = list(
            (tmp_path / "agent/worktrees/terraform/plug-ins").rglob("terraform-provider-paint_v1.0.0")
        )
        assert [file.stat().st_size for file in cached] == [5_000_000]
