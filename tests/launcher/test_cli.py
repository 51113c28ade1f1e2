"""The launcher's command line: PipeCD's flags, the flags passed to the agent, and errors for wrong ones."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import pytest

import pipecd
from pipecd.errors import ConfigError
from pipecd.launcher import cli
from pipecd.launcher.git_source import GitLocation, open_git_source
from pipecd.launcher.options import Options
from pipecd.quickstart.git_server import GitServer
from tests.programs import run_program
from tests.repo import served_clone

PROGRAM = "from pipecd.__main__ import launcher; launcher()"
CONFIG = json.dumps({"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": {}})


def agent_flags(*flags: str) -> Sequence[str]:
    """The flags that are passed to the agent."""
    with cli.command.make_context("launcher", list(flags)) as context:
        return [*cli._shared_flags(context), *context.args]


def test_only_unknown_flags_are_passed_to_the_agent() -> None:
    given = [
        "--config-file=piped.yaml",
        "--config-from-aws-secret=false",
        "--home-dir=/home",
        "--default-version=v0.2.0",
        "--launcher-admin-port=9086",
        "--check-interval=30s",
        "--tools-dir=/tools",
        "--app-manifest-cache-count",
        "150",
        "--enable-default-kubernetes-cloud-provider=true",
    ]
    assert agent_flags(*given) == [
        "--tools-dir=/tools",
        "--app-manifest-cache-count",
        "150",
        "--enable-default-kubernetes-cloud-provider=true",
    ]


def test_shared_flags_are_passed_to_the_agent_if_given() -> None:
    given = ["--insecure", "--grace-period=1m30s", "--log-encoding=json", "--cert-file=/ca.pem"]
    assert agent_flags(*given) == [
        "--insecure=true",
        "--cert-file=/ca.pem",
        "--grace-period=90s",
        "--log-encoding=json",
    ]
    assert agent_flags("--config-file=piped.yaml") == []


def test_the_admin_port_is_open_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPECD_ADMIN_HOST", raising=False)
    for value, expected in ((None, "127.0.0.1"), ("0.0.0.0", "0.0.0.0")):
        if value:
            monkeypatch.setenv("PIPECD_ADMIN_HOST", value)
        with cli.command.make_context("launcher", ["--config-file=a"]) as context:
            assert context.params["admin_host"] == expected
    assert Options().admin_host == "127.0.0.1"


def test_a_switch_is_accepted_with_and_without_a_value() -> None:
    for written in (["--config-from-aws-secret", "--aws-secret-id=x"], ["--config-from-aws-secret=true"]):
        with cli.command.make_context("launcher", list(written)) as context:
            assert context.params["config_from_aws_secret"] is True
    with (
        pytest.raises(click.UsageError),
        cli.command.make_context("launcher", ["--config-from-aws-secret=maybe"]),
    ):
        pass


INVALID = [
    (
        [],
        "no configuration is given; give exactly one of --config-file, --config-data, --config-from-gcp",
    ),
    (
        ["--config-from-aws-secret=true"],
        "--config-from-aws-secret requires --aws-secret-id; add --aws-secret-id=ARN",
    ),
    (
        ["--config-file=a", "--config-from-aws-secret=true", "--aws-secret-id=b"],
        "--config-file and --config-from-aws-secret are both given",
    ),
    (
        ["--config-file=a", "--config-from-git-repo=true"],
        "--config-from-git-repo and --config-file are both given",
    ),
    (
        ["--config-from-git-repo", "--git-branch=main"],
        "--config-from-git-repo requires --git-repo-url and --git-piped-config-file; give all three flags",
    ),
    (
        [
            *("--config-from-git-repo", "--git-branch=a", "--git-repo-url=b", "--git-piped-config-file=c"),
            *("--git-ssh-key-file=d", "--git-ssh-key-data=e"),
        ],
        "--git-ssh-key-file and --git-ssh-key-data are both given; give one of them",
    ),
    (["--config-file=/nowhere/piped.yaml"], "/nowhere/piped.yaml cannot be read: No such file or directory"),
]


@pytest.mark.parametrize(("flags", "expected"), INVALID)
def test_an_invalid_command_line_is_reported_in_one_sentence(
    flags: Sequence[str], expected: str, tmp_path: Path
) -> None:
    result = run_program(["launcher", *flags, f"--home-dir={tmp_path}"], tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"launcher: {expected}")
    assert result.stderr.count("\n") == 1


def test_the_name_of_the_command_may_be_omitted(tmp_path: Path) -> None:
    """App Runner's start command replaces both the image's entry point and its arguments."""
    for words in ([], ["launcher"]):
        result = run_program(
            ["launcher", *words, "--config-file=/nowhere", f"--home-dir={tmp_path}"], tmp_path
        )
        assert result.stderr.startswith("launcher: /nowhere cannot be read")


def test_the_version_command_prints_the_version() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, "version"], capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stdout) == (0, f"v{pipecd.__version__}\n")


async def test_a_pushed_configuration_is_read_from_git(tmp_path: Path) -> None:
    with GitServer(tmp_path / "git") as git:
        clone = served_clone(git, tmp_path, "settings")
        clone.commit_and_push("Begin", {"agents/home.yaml": CONFIG})
        location = GitLocation(url=git.url("settings"), branch="main", file="agents/home.yaml")
        async with open_git_source(location, tmp_path / "home") as source:
            assert (await source.read()).text == CONFIG
            clone.commit_and_push("Change", {"agents/home.yaml": CONFIG + "\n"})
            assert (await source.read()).text == CONFIG + "\n"
            clone.commit_and_push("Remove", {"agents/home.yaml": None, "other": ""})
            with pytest.raises(ConfigError, match=r"has no file agents/home.yaml; push it, or correct"):
                await source.read()


def test_pid_1_reaps_orphaned_processes_and_forwards_signals() -> None:
    """PID 1 reaps an orphan, forwards SIGTERM to its child, and exits with the child's exit code."""
    program = """
import os, signal, subprocess, sys, time
from pipecd.pid1 import fork_and_reap
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans are reparented to this process, as to PID 1
fork_and_reap()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
orphan = subprocess.run(["sh", "-c", "sleep 0 & echo $!"], capture_output=True, text=True).stdout.strip()
while os.path.exists(f"/proc/{orphan}"):
    time.sleep(0.01)
print("reaped", os.getppid(), flush=True)
signal.sigwait([signal.SIGTERM])
sys.exit(7)
"""
    with start_python(program) as process:
        assert process.stdout
        assert process.stdout.readline().split() == ["reaped", str(process.pid)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 7


@contextmanager
def start_python(program: str) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def test_the_ssh_key_may_be_given_as_base64(tmp_path: Path) -> None:
    data = base64.b64encode(b"a private key").decode()
    location = GitLocation(url="a", branch="b", file="c", ssh_key_data=data)
    assert location.validate().ssh_key() == "a private key"
    (tmp_path / "key").write_text("a private key")
    assert (
        GitLocation(url="a", branch="b", file="c", ssh_key_file=str(tmp_path / "key")).ssh_key()
        == "a private key"
    )
    with pytest.raises(ConfigError, match="--git-ssh-key-data: is not base64"):
        GitLocation(url="a", branch="b", file="c", ssh_key_data="!").ssh_key()
