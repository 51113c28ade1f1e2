"""The agent's command line: PipeCD's flags as Helm charts write them, and errors with their location."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from pipecd.piped import cli
from pipecd.piped.cli import command
from pipecd.piped.options import Options
from tests.eventually import eventually

SPEC = {
    "projectID": "shop",
    "pipedID": "home",
    "pipedKeyData": base64.b64encode(b"a secret key of the agent").decode(),
    "apiAddress": "127.0.0.1:1",
}


def document(**more: Any) -> str:
    return json.dumps({"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": {**SPEC, **more}})


def load(*flags: str) -> Options:
    """The options of an agent that is started with these flags."""
    context = command.make_context("piped", list(flags))
    with cli.configuration(context.params) as (_, options):
        return options


def test_flags_as_helm_charts_write_them(tmp_path: Path) -> None:
    (tmp_path / "piped.yaml").write_text(document())
    options = load(
        f"--config-file={tmp_path / 'piped.yaml'}",
        "--insecure=true",
        "--metrics=true",
        "--enable-default-kubernetes-cloud-provider=false",
        "--log-encoding=humanize",
        "--grace-period=1m30s",
        "--admin-port=0",
        f"--home-dir={tmp_path}",
    )
    assert options.transport.insecure
    assert (options.grace_period, options.home, options.tools_dir) == (90.0, tmp_path, tmp_path / "tools")
    assert "******" in options.shown_config
    assert SPEC["pipedKeyData"] not in options.shown_config


def test_switch_without_value_is_on_and_other_flags_have_defaults() -> None:
    data = base64.b64encode(document().encode()).decode()
    options = load("--insecure", f"--config-data={data}")
    assert options.transport.insecure
    assert (options.grace_period, options.admin_port) == (30.0, 9085)


def test_the_admin_port_is_open_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = base64.b64encode(document().encode()).decode()
    monkeypatch.delenv("PIPECD_ADMIN_HOST", raising=False)
    assert load(f"--config-data={data}").admin_host == Options().admin_host == "127.0.0.1"
    monkeypatch.setenv("PIPECD_ADMIN_HOST", "0.0.0.0")
    assert load(f"--config-data={data}").admin_host == "0.0.0.0", "as in a container"
    assert load(f"--config-data={data}", "--admin-host=127.0.0.1").admin_host == "127.0.0.1"


def test_flag_without_effect_is_accepted_with_a_warning() -> None:
    data = base64.b64encode(document().encode()).decode()
    with structlog.testing.capture_logs() as logs:
        load(f"--config-data={data}", "--app-manifest-cache-count=10", "--profile")
    warnings = [log["flag"] for log in logs if log["event"] == "flag_without_effect"]
    assert warnings == ["--app-manifest-cache-count", "--profile"]


def test_config_error_is_one_line_with_its_location(tmp_path: Path) -> None:
    file = tmp_path / "piped.yaml"
    file.write_text(
        "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec:\n  projectID: shop\n  syncInterval: 1x\n"
    )
    process = subprocess.run(
        [sys.executable, "-m", "pipecd", "piped", f"--config-file={file}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1
    assert f"{file}:5: spec.syncInterval" in process.stderr
    assert "Traceback" not in process.stderr


async def test_sigterm_during_a_control_plane_outage_exits_without_error(tmp_path: Path) -> None:
    file = tmp_path / "piped.yaml"
    file.write_text(document())
    agent = subprocess.Popen(
        [sys.executable, "-m", "pipecd", "piped", f"--config-file={file}", f"--home-dir={tmp_path}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:

        async def started() -> bool:
            return (tmp_path / "home" / "lock").exists()

        await eventually(started)
        agent.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(agent.wait, 120) == 0
    finally:
        agent.kill()
        agent.communicate(timeout=60)
