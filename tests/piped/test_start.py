"""An agent that cannot start says in one sentence what to mend."""

import asyncio
import socket
from pathlib import Path

import pytest

from pipecd.errors import ConfigError, Temporary
from pipecd.piped import admin
from pipecd.piped.home_directory import own_folder
from pipecd.piped.session import connect
from pipecd.retry import Retry
from tests.eventually import eventually
from tests.world import World, pipeline, world


async def ends(w: World, within: float = 240.0, **more: object) -> BaseException:
    """Why the agent ended by itself."""
    async with asyncio.timeout(within):
        try:
            async with w.agent(**more) as agent:
                await asyncio.wait([agent])
        except (ConfigError, Temporary) as error:
            return error
    raise AssertionError("the agent ended well")


async def test_a_wrong_key_is_named_with_what_to_check(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        error = await ends(w, key="not the key")
        assert isinstance(error, ConfigError)
        assert w.plane.address in str(error)
        assert "pipedID and the key" in str(error)
        assert "not the key" not in str(error)


async def test_a_disabled_agent_is_told_to_look_there(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.console.call("DisablePiped", piped_id=w.piped_id)
        error = await ends(w)
        assert isinstance(error, ConfigError)
        assert "the agent is enabled" in str(error)


async def test_nobody_at_the_address_ends_after_a_bounded_number_of_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "DIAL", Retry(base=0.01, cap=0.01, tries=3))
    async with world(tmp_path) as w:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            error = await ends(w, address=address, dial_timeout=0.3)
        assert isinstance(error, Temporary)
        assert address in str(error)


async def test_an_agent_that_is_disabled_at_work_stops_working_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent() as agent:
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("sleep 600")})

        async def at_work() -> bool:
            return any(stage.status for one in await w.deployments(app) for stage in one.stages)

        await eventually(at_work)
        await w.console.call("DisablePiped", piped_id=w.piped_id)

        async def no_worker() -> bool:
            return not any(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

        await eventually(no_worker)
        assert not agent.done()
        await w.console.call("EnablePiped", piped_id=w.piped_id)

        async def goes_on() -> bool:
            return any(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

        await eventually(goes_on)


def test_a_second_process_does_not_enter_the_folder(tmp_path: Path) -> None:
    with (
        own_folder(tmp_path, "a/../b") as folder,
        pytest.raises(ConfigError, match="home-dir"),
        own_folder(tmp_path, "a/../b"),
    ):
        raise AssertionError(folder)
    assert folder.parent == tmp_path
    with own_folder(tmp_path, "a/../b"):
        pass


async def test_the_admin_port_answers_and_a_taken_one_is_named() -> None:
    async def well() -> str:
        return ""

    async with admin.served(well, "127.0.0.1", 0) as port:
        for path, words in (("/healthz", b"ok"), ("/version", b'"version"'), ("/metrics", b"piped_faults")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert words in answer
        with pytest.raises(ConfigError, match=str(port)):
            async with admin.served(well, "127.0.0.1", port):
                pass
