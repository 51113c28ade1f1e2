"""Modules from private repositories are downloaded with the agent's credentials."""

import os
from pathlib import Path

import pytest

from pipecd.errors import PipecdError, Refused, Temporary
from pipecd.git.credentials import Credentials
from pipecd.platforms.terraform.failure import ErrorOutput
from pipecd.platforms.terraform.stages import sync
from pipecd.quickstart.git_server import GitServer
from tests.platforms.terraform.shop import INSTALLED, app_file, configuration, data, values
from tests.repo import Clone
from tests.stages.stage_runner import open_runner


def files(folder: Path, source: str) -> dict[str, str]:
    body = f'module "net" {{\n  source = "{source}"\n}}\n'
    return {"app.pipecd.yaml": app_file(), "main.tf": configuration(folder / "state", body)}


async def test_a_private_module_is_downloaded_with_the_password_of_the_agent(tmp_path: Path) -> None:
    credentials = Credentials(username="ada", password="correct-horse")
    with GitServer(tmp_path / "git", users={"ada": "correct-horse"}) as server:
        server.create("modules")
        login = server.url("modules").replace("http://", "http://ada:correct-horse@")
        Clone(tmp_path / "modules", login).commit_and_push("Net", {"net/main.tf": data("net", "1")})
        source = f"git::{server.url('modules')}//net"
        async with open_runner(
            tmp_path / "r",
            files(tmp_path, source),
            provider=INSTALLED,
            credentials=credentials,
            remotes=[server.url("config")],
        ) as runner:
            await runner.run("TERRAFORM_SYNC", sync)
            stored = b"".join(path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file())
            assert b"correct-horse" not in stored.replace(b"password correct-horse", b"")
    assert values(tmp_path / "state")["net"] == "1"
    assert not any("correct-horse" in line for line in runner.log.lines)


async def test_a_private_module_is_downloaded_with_the_ssh_key_of_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    fails = "echo 'Permission denied (publickey).' >&2; exit 255"
    ssh.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/called\n{fails}\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    source = "git::ssh://git@git.example.com/shop/modules.git//net?ref=v1"
    async with open_runner(
        tmp_path / "r", files(tmp_path, source), provider=INSTALLED, credentials=Credentials(ssh_key="KEY")
    ) as runner:
        with pytest.raises(Refused) as caught:
            await runner.run("TERRAFORM_SYNC", sync)
    called = (tmp_path / "called").read_text()
    assert " -i " in called and "IdentitiesOnly=yes" in called and "KEY" not in called
    assert "git: Permission denied (publickey)." in caught.value.what and "spec.git" in caught.value.remedy


INIT = """\
Error: Failed to download module

  on main.tf line 1:
   1: module "m" {{

Could not download module "m" (main.tf:1) source code from
"git::ssh://git@git.example.com/shop/modules.git?ref=v1": error downloading
'ssh://git@git.example.com/shop/modules.git?ref=v1': /usr/bin/git exited with
128: Cloning into '.terraform/modules/m'...
{}
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""
CAUSES: dict[str, tuple[str, type[PipecdError], str]] = {
    "a host key": (
        "Host key verification\nfailed.",
        Refused,
        "verification failed.; the host's SSH key",
    ),
    "a host name": (
        "ssh: Could not resolve hostname\ngit.example.com: Name or service not known",
        Temporary,
        "git.example.com: Name or service not known; check the host name",
    ),
    "a ref": (
        "fatal: couldn't find remote ref v1",
        Refused,
        "ref v1; correct the source of the module",
    ),
}


@pytest.mark.parametrize("case", CAUSES)
def test_what_git_says_about_a_module_is_reported_with_a_remedy(case: str) -> None:
    cause, error_type, text = CAUSES[case]
    output = ErrorOutput()
    for line in INIT.format(cause).splitlines():
        output.add_line(f"│ {line}")
    error = output.to_error("init", 1)
    assert type(error) is error_type and text in str(error)
