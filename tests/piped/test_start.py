"""An agent that cannot start reports in one sentence what to fix."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pipecd.errors import ConfigError, Temporary
from pipecd.piped import admin
from pipecd.piped.home_directory import lock_home_directory
from pipecd.piped.settings import ConnectSettings
from pipecd.retry import Retry
from pipecd.watchdog import Watchdog
from tests.eventually import eventually
from tests.world import SETTINGS, World, pipeline, world


async def startup_error(w: World, within: float = 240.0, **more: object) -> BaseException:
    """The error with which the agent ended."""
    async with asyncio.timeout(within):
        try:
            async with w.agent(**more) as agent:
                await asyncio.wait([agent])
        except (ConfigError, Temporary) as error:
            return error
    raise AssertionError("the agent ended without an error")


async def test_wrong_key_is_reported_with_what_to_check(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        error = await startup_error(w, key="not the key")
        assert isinstance(error, ConfigError)
        assert w.plane.address in str(error)
        assert "pipedID and the key" in str(error)
        assert "not the key" not in str(error)


async def test_disabled_agent_reports_that_it_must_be_enabled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.console.call("DisablePiped", piped_id=w.piped_id)
        error = await startup_error(w)
        assert isinstance(error, ConfigError)
        assert "the agent is enabled" in str(error)


async def test_unreachable_address_fails_after_a_bounded_number_of_attempts(tmp_path: Path) -> None:
    connect = ConnectSettings(dial_timeout=0.3, dial_retry=Retry(base=0.01, cap=0.01, tries=3))
    settings = replace(SETTINGS, connect=connect)
    async with world(tmp_path) as w:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            error = await startup_error(w, address=address, settings=settings)
        assert isinstance(error, Temporary)
        assert address in str(error)


async def test_the_first_failure_to_connect_is_logged_at_once(tmp_path: Path) -> None:
    """Not after the timeout, during which gRPC tries again."""
    settings = replace(SETTINGS, connect=ConnectSettings(dial_timeout=600.0))
    async with world(tmp_path) as w:
        with socket.socket() as free, capture_logs() as logs:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"

            async def logged() -> list[str]:
                return [entry["error"] for entry in logs if entry["event"] == "control_plane_unreachable"]

            async with w.agent(address=address, settings=settings):
                (error,) = await eventually(logged)
    assert f"nothing listens at {address}" in error


async def test_agent_that_is_disabled_while_running_stops_its_workers_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent() as agent:
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("sleep 600")})

        async def stage_started() -> bool:
            return any(stage.status for item in await w.deployments(app) for stage in item.stages)

        await eventually(stage_started)
        await w.console.call("DisablePiped", piped_id=w.piped_id)

        async def no_worker() -> bool:
            return not any(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

        await eventually(no_worker)
        assert not agent.done()
        await w.console.call("EnablePiped", piped_id=w.piped_id)

        async def worker_started() -> bool:
            return any(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

        await eventually(worker_started)


def test_second_process_cannot_use_the_home_directory(tmp_path: Path) -> None:
    with (
        lock_home_directory(tmp_path, "a/../b") as directory,
        pytest.raises(ConfigError, match="home-dir"),
        lock_home_directory(tmp_path, "a/../b"),
    ):
        raise AssertionError(directory)
    assert directory.parent == tmp_path
    with lock_home_directory(tmp_path, "a/../b"):
        pass


async def test_admin_port_responds_and_a_port_in_use_is_named() -> None:
    async def healthy() -> str:
        return ""

    async with admin.serve(healthy, Watchdog(), "127.0.0.1", 0) as port:
        for path, expected in (
            ("/healthz", b"ok"),
            ("/version", b'"version"'),
            ("/metrics", b"piped_faults"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            response = await reader.read()
            writer.close()
            assert response.startswith(b"HTTP/1.1 200"), response
            assert expected in response
        with pytest.raises(ConfigError, match=str(port)):
            async with admin.serve(healthy, Watchdog(), "127.0.0.1", port):
                pass
