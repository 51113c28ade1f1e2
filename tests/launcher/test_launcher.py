"""The launcher with stub agents as processes, a real control plane, and real wheels installed by pip."""

import asyncio
import base64
import functools
import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipecd import launcher
from pipecd.admin_port import http_get
from pipecd.client import Transport
from pipecd.config.sources import Text, choose_source
from pipecd.errors import ConfigError, Temporary
from pipecd.launcher import versions
from pipecd.launcher.options import Options, Timeouts
from pipecd.launcher.release import open_releases
from pipecd.retry import Retry
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.eventually import eventually
from tests.launcher.releases import publish
from tests.once import build_once, folder_of_run
from tests.ports import free_ports
from tests.skippable_clock import SkippableClock

pytestmark = pytest.mark.timeout(400)
PASSWORD = "c4n4ry-of-the-repository"
TIMEOUTS = Timeouts(
    startup=120.0,
    stable=0.3,
    rejection=600.0,
    install=200.0,
    unresponsive=120.0,
    min_restart_delay=0.05,
    max_restart_delay=0.2,
)
#: For the launcher's shutdown, in seconds: longer than its agent's grace period.
SHUTDOWN_TIMEOUT = 90.0


@dataclass
class LauncherSetup:
    """A control plane, a folder of releases, and a launcher that runs their stub agents."""

    folder: Path
    plane: ControlPlane
    piped_id: str
    key: str
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @property
    def config(self) -> Path:
        return self.folder / "piped.yaml"

    def configure(self, **changes: str) -> None:
        """Replace the agent's configuration atomically, like a mounted file."""
        defaults = {"behaviour": "healthy", "label": "first", "journal": str(self.folder / "journal")}
        settings = {**defaults, **changes}
        document = {
            "apiVersion": "pipecd.dev/v1beta1",
            "kind": "Piped",
            "spec": {
                "projectID": "shop",
                "pipedID": self.piped_id,
                "pipedKeyData": base64.b64encode(self.key.encode()).decode(),
                "apiAddress": self.plane.address,
                "name": "home",
                "git": {"password": base64.b64encode(PASSWORD.encode()).decode()},
            },
        }
        lines = "".join(f"# {name}: {value}\n" for name, value in settings.items())
        new_file = self.config.with_suffix(".new")
        new_file.write_text(lines + json.dumps(document))
        new_file.rename(self.config)

    def options(self, **changes: Any) -> Options:
        return Options(
            transport=Transport(insecure=True),
            home=self.folder / "home",
            releases=changes.pop("releases", str(self.folder / "releases")),
            default_version=changes.pop("default_version", "v9.1.0"),
            admin_host="127.0.0.1",
            admin_port=self.port,
            check_interval=changes.pop("check_interval", 0.2),
            grace_period=changes.pop("grace_period", 60.0),
            timeouts=replace(TIMEOUTS, **changes.pop("timeouts", {})),
            **changes,
        )

    @asynccontextmanager
    async def start(self, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Run the launcher until the block ends, then shut it down as SIGTERM does."""
        source = choose_source({"--config-file": str(self.config)})
        task = asyncio.create_task(launcher.run(source, self.options(**changes)), name="launcher")
        try:
            yield task
        finally:
            task.cancel()
            async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                await asyncio.wait([task])

    async def set_desired_version(self, version: str, *, allow_downgrade: bool = False) -> None:
        """Does what "Upgrade" in the console does."""
        await self.plane.console.call(
            "UpdatePipedDesiredVersion",
            piped_ids=[self.piped_id],
            version=version,
            allow_downgrade=allow_downgrade,
        )

    def read_journal(self) -> list[dict[str, Any]]:
        """The events recorded by the agents, in order."""
        journal = self.folder / "journal"
        return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []

    def events(self) -> list[str]:
        return [f"{entry['event']} {entry['version']}" for entry in self.read_journal()]

    async def get(self, path: str) -> tuple[int, str]:
        try:
            code, _, body = await http_get(self.port, path)
        except Temporary:
            return 0, ""
        return code, body.decode()

    async def wait_for_response(self, path: str, code: int, *expected: str) -> str:
        """Wait until `path` is answered with `code` and a body that contains all of `expected`."""

        async def check() -> str:
            status, text = await self.get(path)
            assert status == code, (status, text)
            assert all(part in text for part in expected), text
            return text

        return await eventually(check)

    async def agent_version(self) -> str:
        """The agent's version as reported by the launcher."""
        return str(json.loads(await self.wait_for_response("/version", 200))["piped"])

    async def wait_for_starts(self, count: int) -> None:
        """Wait until `count` agents have been started, whether or not they became healthy."""

        async def check() -> bool:
            events = self.events()
            assert sum(event.startswith("started") for event in events) >= count, events
            return True

        await eventually(check, 90)

    async def wait_for_agent(self, version: str, starts: int = 1, **fields: str) -> Mapping[str, Any]:
        """Wait until the last of at least `starts` agents is as expected and healthy. Its journal entry."""

        async def check() -> Mapping[str, Any]:
            started = [entry for entry in self.read_journal() if entry["event"] == "started"]
            assert len(started) >= starts, self.events()
            assert started[-1]["version"] == version, self.events()
            for name, value in fields.items():
                assert started[-1][name] == value
            assert await self.get("/healthz") == (200, "ok")
            return started[-1]

        return await eventually(check, 90)

    async def wait_until_stable(self, version: str) -> None:
        async def check() -> bool:
            good = self.folder / "home" / "good.json"
            return good.exists() and json.loads(good.read_text())[:1] == [version]

        await eventually(check)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory in which v9.1.0 is installed."""

    def install(folder: Path) -> None:
        publish(folder / "releases", "v9.1.0")
        releases = open_releases(str(folder / "releases"), "")
        asyncio.run(versions.Versions(folder / "home", releases, timeout=200).command("v9.1.0"))

    return build_once(tmp_path_factory, "launcher", install) / "home"


@pytest.fixture
async def setup(empty: LauncherSetup, installed: Path, installed_once: None) -> LauncherSetup:
    """With v9.1.0 installed, because most tests need an agent and not its installation."""
    await asyncio.to_thread(shutil.copytree, installed, empty.folder / "home", symlinks=True)
    return empty


@pytest.fixture
def installed_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip installs each wheel once; afterwards, its packages are copied. `test_release.py` tests pip."""
    run_python = versions._run_python

    async def run_once(*arguments: str) -> None:
        if arguments[:2] != ("-m", "pip"):
            await run_python(*arguments)
            return
        environment = Path(arguments[3]).parents[1]
        (wheel,) = environment.with_name("wheels").glob("*.whl")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (target,) = environment.glob("lib/python*/site-packages")
        packages = folder_of_run(tmp_path_factory) / f"packages-{digest}"
        if packages.exists():
            await asyncio.to_thread(shutil.copytree, packages, target, dirs_exist_ok=True)
            return
        await run_python(*arguments)
        copied = tmp_path_factory.mktemp("packages") / "site-packages"
        await asyncio.to_thread(shutil.copytree, target, copied)
        # Another worker may have done the same.
        with suppress(OSError):
            copied.rename(packages)

    monkeypatch.setattr(versions, "_run_python", run_once)


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[LauncherSetup]:
    """With no version installed."""
    for version in ("v9.1.0", "v9.2.0"):
        publish(tmp_path / "releases", version)
    async with control_plane(tmp_path / "plane") as plane:
        piped_id, key = await plane.register_piped()
        launcher_setup = LauncherSetup(folder=tmp_path, plane=plane, piped_id=piped_id, key=key)
        launcher_setup.configure()
        yield launcher_setup


async def test_the_default_version_runs_if_no_other_is_specified(empty: LauncherSetup) -> None:
    async with empty.start(forwarded=["--insecure=true", "--tools-dir=/tools"]):
        agent = await empty.wait_for_agent("9.1.0")
        assert agent["argv"][0] == "piped"
        assert {"--insecure=true", "--tools-dir=/tools", "--admin-host=127.0.0.1"} <= set(agent["argv"])
        assert any(part.startswith("--launcher-version=") for part in agent["argv"])
        assert await empty.agent_version() == "v9.1.0"


async def test_an_upgrade_in_the_console_stops_the_old_agent_and_starts_the_new_one(
    setup: LauncherSetup,
) -> None:
    async with setup.start():
        await setup.wait_for_agent("9.1.0")
        await setup.set_desired_version("v9.2.0")
        await setup.wait_for_agent("9.2.0")
        assert setup.events() == ["started 9.1.0", "ended 9.1.0", "started 9.2.0"]
        # By now the new version may be stable.
        await setup.set_desired_version("v9.1.0", allow_downgrade=True)
        await setup.wait_for_agent("9.1.0", starts=3)
    assert setup.events()[-2:] == ["started 9.1.0", "ended 9.1.0"]


async def test_a_version_is_downloaded_once(empty: LauncherSetup) -> None:
    async with empty.start():
        await empty.wait_for_agent("9.1.0")
        await empty.wait_until_stable("v9.1.0")
    (empty.folder / "releases" / "v9.1.0" / "SHA256SUMS").unlink()
    async with empty.start():
        await empty.wait_for_agent("9.1.0", starts=2)


async def test_a_new_configuration_restarts_the_agent_gracefully(setup: LauncherSetup) -> None:
    async with setup.start():
        await setup.wait_for_agent("9.1.0", label="first")
        setup.configure(label="second")
        await setup.wait_for_agent("9.1.0", starts=2, label="second")
    assert setup.events() == ["started 9.1.0", "ended 9.1.0"] * 2


async def test_a_configuration_that_cannot_be_read_changes_nothing(setup: LauncherSetup) -> None:
    async with setup.start():
        first = await setup.wait_for_agent("9.1.0")
        before = await _checks_failed(setup)
        setup.config.write_text("kind: [")
        await eventually(lambda: _checks_failed_reach(setup, before + 2))
        assert (await setup.wait_for_agent("9.1.0"))["pid"] == first["pid"]
        setup.configure(label="corrected")
        await setup.wait_for_agent("9.1.0", starts=2, label="corrected")


async def test_an_unavailable_version_changes_nothing(setup: LauncherSetup) -> None:
    async with setup.start():
        first = await setup.wait_for_agent("9.1.0")
        await setup.wait_until_stable("v9.1.0")
        await setup.set_desired_version("v9.9.0")
        await eventually(lambda: _was_attempted(setup, "v9.9.0"))
        assert (await setup.wait_for_agent("9.1.0"))["pid"] == first["pid"]
        publish(setup.folder / "releases", "v9.3.0")
        await setup.set_desired_version("v9.3.0")
        await setup.wait_for_agent("9.3.0", starts=2)
    assert "started 9.9.0" not in setup.events()


async def test_an_agent_that_fails_is_restarted(setup: LauncherSetup) -> None:
    async with setup.start():
        first = await setup.wait_for_agent("9.1.0")
        os.kill(first["pid"], signal.SIGKILL)
        second = await setup.wait_for_agent("9.1.0", starts=2)
        assert second["pid"] != first["pid"]
        await setup.get("/crash")
        await setup.wait_for_agent("9.1.0", starts=3)


async def test_a_requested_restart_happens_immediately(setup: LauncherSetup) -> None:
    """The agent exits by itself when it receives "Restart" from the console."""
    async with setup.start(timeouts={"min_restart_delay": 600.0, "max_restart_delay": 600.0}):
        await setup.wait_for_agent("9.1.0")
        await setup.wait_until_stable("v9.1.0")
        await setup.get("/restart")
        await setup.wait_for_agent("9.1.0", starts=2)


async def test_a_version_whose_agent_crashes_is_replaced_by_the_previous_one(setup: LauncherSetup) -> None:
    setup.configure(behaviour="crash v9.2.0")
    async with setup.start():
        await setup.wait_for_agent("9.1.0")
        await setup.wait_until_stable("v9.1.0")
        await setup.set_desired_version("v9.2.0")
        await setup.wait_for_agent("9.1.0", starts=5)
        assert setup.events()[:2] == ["started 9.1.0", "ended 9.1.0"]
        *failed, last = setup.events()[2:]
        # Another run may start while the fallback is being prepared.
        assert len(failed) >= Options().max_failures
        assert set(failed) == {"started 9.2.0"}
        assert last == "started 9.1.0"


async def test_a_version_whose_agent_never_becomes_healthy_is_replaced(setup: LauncherSetup) -> None:
    """A single failure is enough here. The agent is given time to start, which passes at once."""
    clock = SkippableClock()
    setup.configure(behaviour="silent v9.2.0")
    async with setup.start(clock=clock, max_failures=1):
        await setup.wait_for_agent("9.1.0")
        await setup.wait_until_stable("v9.1.0")
        await setup.set_desired_version("v9.2.0")

        async def started() -> bool:
            return "started 9.2.0" in setup.events()

        await eventually(started)
        clock.skip(TIMEOUTS.startup)
        await setup.wait_for_agent("9.1.0", starts=3)
        *failed, last = setup.events()[2:]
        assert failed[:2] == ["started 9.2.0", "ended 9.2.0"]
        assert set(failed) == {"started 9.2.0", "ended 9.2.0"}
        assert last == "started 9.1.0"


async def test_a_rejected_target_is_tried_again_after_a_while(setup: LauncherSetup) -> None:
    """The target is unchanged; the cause of its failures has been fixed elsewhere."""
    clock = SkippableClock()
    setup.configure(behaviour="crash v9.2.0")
    async with setup.start(clock=clock):
        await setup.wait_for_agent("9.1.0")
        await setup.wait_until_stable("v9.1.0")
        await setup.set_desired_version("v9.2.0")

        async def fell_back() -> bool:
            events = setup.events()
            return "started 9.2.0" in events and "started 9.1.0" in events[events.index("started 9.2.0") :]

        await eventually(fell_back)
        (setup.folder / "fixed").touch()
        clock.skip(TIMEOUTS.rejection)
        await setup.wait_for_agent("9.2.0")
        await setup.wait_until_stable("v9.2.0")


async def test_the_last_good_version_runs_during_an_outage_of_the_control_plane(
    setup: LauncherSetup, tmp_path: Path
) -> None:
    setup.configure()
    async with setup.start():
        await setup.set_desired_version("v9.2.0")
        await setup.wait_for_agent("9.2.0")
        await setup.wait_until_stable("v9.2.0")
    before = sum(event.startswith("started") for event in setup.events())
    text = setup.config.read_text().replace(setup.plane.address, "127.0.0.1:9")
    setup.config.write_text(text)
    async with setup.start():
        await setup.wait_for_agent("9.2.0", starts=before + 1)


async def test_recent_versions_are_kept_as_fallbacks_and_older_ones_removed(setup: LauncherSetup) -> None:
    for version in ("v9.3.0", "v9.4.0"):
        publish(setup.folder / "releases", version)
    async with setup.start():
        await setup.wait_for_agent("9.1.0")
        await setup.wait_until_stable("v9.1.0")
        for version in ("v9.2.0", "v9.3.0", "v9.4.0"):
            await setup.set_desired_version(version)
            await setup.wait_until_stable(version)

        async def old_version_removed() -> bool:
            """Old versions are removed right after the new one is recorded as good."""
            installed = sorted(folder.name for folder in (setup.folder / "home" / "versions").iterdir())
            assert installed == ["v9.2.0", "v9.3.0", "v9.4.0"]
            return True

        await eventually(old_version_removed)


async def test_one_port_serves_launcher_and_agent(setup: LauncherSetup) -> None:
    async with setup.start():
        await setup.wait_for_agent("9.1.0")
        await setup.wait_for_response("/metrics", 200, "agent_metric 1", "launcher_agent_up 1.0")
        (setup.folder / "unhealthy").touch()
        assert await setup.wait_for_response("/healthz", 503) == "disconnected"
        (setup.folder / "unhealthy").unlink()
        assert await setup.wait_for_response("/healthz", 200) == "ok"


async def test_the_launcher_is_unhealthy_if_the_agent_does_not_answer_for_too_long(
    setup: LauncherSetup,
) -> None:
    async with setup.start(
        timeouts={
            "unresponsive": 0.5,
            "startup": 30.0,
            "min_restart_delay": 600.0,
            "max_restart_delay": 600.0,
        }
    ):
        agent = await setup.wait_for_agent("9.1.0")
        setup.configure(behaviour="crash", label="bad")
        os.kill(agent["pid"], signal.SIGKILL)
        await setup.wait_for_response("/healthz", 503, "no agent answers: ")


async def test_the_launcher_is_unhealthy_if_every_agent_fails(setup: LauncherSetup) -> None:
    """After three failures the launcher's own version runs; without --insecure it cannot connect."""
    setup.configure(behaviour="crash")
    async with setup.start(timeouts={"startup": 5.0}):
        await setup.wait_for_starts(Options().max_failures)
        await setup.wait_for_response("/healthz", 503, "no agent answers: ")


async def test_a_second_port_serves_the_same_endpoints(setup: LauncherSetup) -> None:
    (setup.port, second) = free_ports(2)
    async with setup.start(launcher_admin_port=second):
        await setup.wait_for_agent("9.1.0")
        setup.port = second
        assert await setup.wait_for_response("/healthz", 200) == "ok"
        assert await setup.agent_version() == "v9.1.0"


async def test_sighup_triggers_an_immediate_check(setup: LauncherSetup) -> None:
    async with setup.start(check_interval=600.0):
        await setup.wait_for_agent("9.1.0")
        setup.configure(label="second")
        os.kill(os.getpid(), signal.SIGHUP)
        await setup.wait_for_agent("9.1.0", starts=2, label="second")


@contextmanager
def delayed_releases(releases: Path) -> Iterator[tuple[str, threading.Event]]:
    """The URL of a server whose responses are delayed until the event is set."""
    go = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            go.wait()
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Disables logging."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(releases)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", go
    finally:
        go.set()
        server.shutdown()
        server.server_close()


async def test_the_launcher_is_healthy_while_the_first_version_is_installed(empty: LauncherSetup) -> None:
    with delayed_releases(empty.folder / "releases") as (releases, go):
        async with empty.start(releases=releases):
            assert await empty.wait_for_response("/healthz", 200) == "ok: installing v9.1.0"
            go.set()
            await empty.wait_for_agent("9.1.0")


async def test_an_agent_that_does_not_stop_is_killed_after_its_grace_period(setup: LauncherSetup) -> None:
    setup.configure(behaviour="ignore-sigterm")
    async with setup.start(grace_period=2.0, timeouts={"kill_margin": 0.0}):
        agent = await setup.wait_for_agent("9.1.0")
        setup.configure(label="second")
        await setup.wait_for_agent("9.1.0", starts=2, label="second")
    with pytest.raises(ProcessLookupError):
        os.kill(agent["pid"], 0)


async def test_no_agent_outlives_its_launcher(setup: LauncherSetup) -> None:
    async with setup.start():
        agent = await setup.wait_for_agent("9.1.0")
    with pytest.raises(ProcessLookupError):
        os.kill(agent["pid"], 0)
    assert setup.events() == ["started 9.1.0", "ended 9.1.0"]


async def test_the_written_configuration_is_readable_only_by_its_owner(setup: LauncherSetup) -> None:
    async with setup.start():
        await setup.wait_for_agent("9.1.0")
        written = setup.folder / "home" / "piped.yaml"
        assert written.read_text() == setup.config.read_text()
        assert written.stat().st_mode & 0o777 == 0o600


async def test_the_agents_output_is_forwarded_without_secrets(
    setup: LauncherSetup, capfd: pytest.CaptureFixture[str]
) -> None:
    setup.configure(label="a label, and " + PASSWORD)
    async with setup.start():
        await setup.wait_for_agent("9.1.0")
        await setup.wait_until_stable("v9.1.0")
    output = capfd.readouterr().err
    assert "agent label: a label, and ******" in output
    assert "agent password: ******" in output
    assert "c4n4ry" not in output


async def test_two_launchers_cannot_share_a_home_directory(setup: LauncherSetup) -> None:
    async with setup.start():
        await setup.wait_for_agent("9.1.0")
        with pytest.raises(ConfigError, match="another launcher is using"):
            await launcher.run(choose_source({"--config-file": str(setup.config)}), setup.options())


@dataclass
class UnavailableAtFirst:
    """A source whose first reads fail, `outages` times."""

    text: str
    outages: int

    async def read(self) -> Text:
        if self.outages:
            self.outages -= 1
            raise Temporary("the network is not up yet")
        return Text(text=self.text, name="source")


async def test_the_launcher_waits_for_a_source_that_is_unavailable_at_startup(
    setup: LauncherSetup,
) -> None:
    options = setup.options(start_retry=Retry(base=0.01, cap=0.01, tries=3))
    source = UnavailableAtFirst(text=setup.config.read_text(), outages=2)
    task = asyncio.create_task(launcher.run(source, options))
    try:
        await setup.wait_for_agent("9.1.0")
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=SHUTDOWN_TIMEOUT)
    assert task.done()
    with pytest.raises(Temporary, match="the network is not up yet"):
        await launcher.run(replace(source, outages=3), options)


async def test_a_rejected_agent_is_an_error_at_startup(setup: LauncherSetup) -> None:
    setup.key = "an unknown key"
    setup.configure()
    with pytest.raises(ConfigError, match=r"refuses this agent: .*; check spec.projectID, spec.pipedID"):
        async with setup.start() as task:
            await task


async def _was_attempted(setup: LauncherSetup, version: str) -> bool:
    return (setup.folder / "home" / "versions" / version).exists()


async def _checks_failed(setup: LauncherSetup) -> float:
    metrics = await setup.wait_for_response("/metrics", 200, "launcher_checks_failed_total")
    return next(
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("launcher_checks_failed_total")
    )


async def _checks_failed_reach(setup: LauncherSetup, number: float) -> bool:
    return await _checks_failed(setup) >= number
