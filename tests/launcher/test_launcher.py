"""The launcher with real agents' processes, a real control plane, and real wheels installed by pip."""

import asyncio
import base64
import functools
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipecd import launcher
from pipecd.admin_port import asked
from pipecd.client import Transport
from pipecd.config.sources import Text, chosen
from pipecd.errors import ConfigError, Temporary
from pipecd.launcher.fallback import TRIES
from pipecd.launcher.options import Options, Patience
from pipecd.retry import Retry
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.eventually import eventually
from tests.launcher.releases import publish
from tests.ports import free_ports

pytestmark = pytest.mark.timeout(400)
PASSWORD = "c4n4ry-of-the-repository"
PATIENCE = Patience(
    start=120.0, steady=0.3, forgive=600.0, install=200.0, silence=120.0, first_pause=0.05, longest_pause=0.2
)
#: How long the launcher may take to end: its agent's grace, and some more (seconds).
END = 90.0


@dataclass
class Scene:
    """A control plane, a folder of releases, and a launcher that runs the small agents among them."""

    folder: Path
    plane: ControlPlane
    piped_id: str
    key: str
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @property
    def config(self) -> Path:
        return self.folder / "piped.yaml"

    def configure(self, **more: str) -> None:
        """Replaces the agent's configuration in one step, as a mounted file is."""
        settings = {"behaviour": "well", "said": "first", "journal": str(self.folder / "journal"), **more}
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
        fresh = self.config.with_suffix(".new")
        fresh.write_text(lines + json.dumps(document))
        fresh.rename(self.config)

    def options(self, **more: Any) -> Options:
        return Options(
            transport=Transport(insecure=True),
            home=self.folder / "home",
            releases=more.pop("releases", str(self.folder / "releases")),
            default_version=more.pop("default_version", "v9.1.0"),
            admin_host="127.0.0.1",
            admin_port=self.port,
            check_interval=more.pop("check_interval", 0.2),
            grace_period=more.pop("grace_period", 60.0),
            patience=replace(PATIENCE, **more.pop("patience", {})),
            **more,
        )

    @asynccontextmanager
    async def launched(self, **more: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Until the block ends: then it is shut down, as by SIGTERM."""
        source = chosen({"--config-file": str(self.config)})
        task = asyncio.create_task(launcher.run(source, self.options(**more)), name="launcher")
        try:
            yield task
        finally:
            task.cancel()
            async with asyncio.timeout(END):
                await asyncio.wait([task])

    async def wish(self, version: str) -> None:
        """What the console's "upgrade" does."""
        await self.plane.console.call("UpdatePipedDesiredVersion", piped_ids=[self.piped_id], version=version)

    def lives(self) -> list[dict[str, Any]]:
        """The agents' own words, in order."""
        journal = self.folder / "journal"
        return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []

    def told(self) -> list[str]:
        return [f"{one['event']} {one['version']}" for one in self.lives()]

    async def page(self, path: str) -> tuple[int, str]:
        try:
            code, _, body = await asked(self.port, path)
        except Temporary:
            return 0, ""
        return code, body.decode()

    async def shows(self, path: str, code: int, *words: str) -> str:
        """The page, once it is answered in this way."""

        async def look() -> str:
            seen, text = await self.page(path)
            assert seen == code, (seen, text)
            assert all(word in text for word in words), text
            return text

        return await eventually(look)

    async def version(self) -> str:
        """The agent's, as the launcher tells it."""
        return str(json.loads(await self.shows("/version", 200))["piped"])

    async def begun(self, lives: int) -> None:
        """So many agents have been started, however they fared."""

        async def look() -> bool:
            told = self.told()
            assert sum(one.startswith("started") for one in told) >= lives, told
            return True

        await eventually(look, 90)

    async def runs(self, version: str, lives: int = 1, **facts: str) -> Mapping[str, Any]:
        """The last life once it answers through the launcher's port and is the one expected."""

        async def look() -> Mapping[str, Any]:
            started = [one for one in self.lives() if one["event"] == "started"]
            assert len(started) >= lives, self.told()
            assert started[-1]["version"] == version, self.told()
            for name, value in facts.items():
                assert started[-1][name] == value
            assert await self.page("/healthz") == (200, "ok")
            return started[-1]

        return await eventually(look, 90)

    async def steady(self, version: str) -> None:
        async def look() -> bool:
            good = self.folder / "home" / "good.json"
            return good.exists() and json.loads(good.read_text())[:1] == [version]

        await eventually(look)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    for version in ("v9.1.0", "v9.2.0"):
        publish(tmp_path / "releases", version)
    async with control_plane(tmp_path / "plane") as plane:
        piped_id, key = await plane.register_piped()
        made = Scene(folder=tmp_path, plane=plane, piped_id=piped_id, key=key)
        made.configure()
        yield made


async def test_the_default_version_runs_while_nobody_asks_for_another(scene: Scene) -> None:
    async with scene.launched(forwarded=["--insecure=true", "--tools-dir=/tools"]):
        life = await scene.runs("9.1.0")
        assert life["argv"][0] == "piped"
        assert {"--insecure=true", "--tools-dir=/tools", "--admin-host=127.0.0.1"} <= set(life["argv"])
        assert any(part.startswith("--launcher-version=") for part in life["argv"])
        assert await scene.version() == "v9.1.0"


async def test_an_upgrade_in_the_console_exchanges_the_agent_in_good_order(scene: Scene) -> None:
    async with scene.launched():
        await scene.runs("9.1.0")
        await scene.wish("v9.2.0")
        await scene.runs("9.2.0")
        assert scene.told() == ["started 9.1.0", "ended 9.1.0", "started 9.2.0"]
        await scene.wish("v9.1.0")
        await scene.runs("9.1.0", lives=3)
    assert scene.told()[-2:] == ["started 9.1.0", "ended 9.1.0"]


async def test_a_version_is_downloaded_once(scene: Scene) -> None:
    async with scene.launched():
        await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
    (scene.folder / "releases" / "v9.1.0" / "SHA256SUMS").unlink()
    async with scene.launched():
        await scene.runs("9.1.0", lives=2)


async def test_a_new_configuration_restarts_the_agent_in_good_order(scene: Scene) -> None:
    async with scene.launched():
        await scene.runs("9.1.0", config="first")
        scene.configure(said="second")
        await scene.runs("9.1.0", lives=2, config="second")
    assert scene.told() == ["started 9.1.0", "ended 9.1.0"] * 2


async def test_a_configuration_that_cannot_be_read_changes_nothing(scene: Scene) -> None:
    async with scene.launched():
        first = await scene.runs("9.1.0")
        before = await _checks_failed(scene)
        scene.config.write_text("kind: [")
        await eventually(lambda: _more_checks_failed(scene, before + 2))
        assert (await scene.runs("9.1.0"))["pid"] == first["pid"]
        scene.configure(said="mended")
        await scene.runs("9.1.0", lives=2, config="mended")


async def test_a_version_that_cannot_be_had_changes_nothing(scene: Scene) -> None:
    async with scene.launched():
        first = await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
        await scene.wish("v9.9.0")
        await eventually(lambda: _was_tried(scene, "v9.9.0"))
        assert (await scene.runs("9.1.0"))["pid"] == first["pid"]
        publish(scene.folder / "releases", "v9.3.0")
        await scene.wish("v9.3.0")
        await scene.runs("9.3.0", lives=2)
    assert "started 9.9.0" not in scene.told()


async def test_an_agent_that_dies_is_started_again(scene: Scene) -> None:
    async with scene.launched():
        first = await scene.runs("9.1.0")
        os.kill(first["pid"], signal.SIGKILL)
        second = await scene.runs("9.1.0", lives=2)
        assert second["pid"] != first["pid"]
        await scene.page("/crash")
        await scene.runs("9.1.0", lives=3)


async def test_an_agent_that_ends_because_somebody_asked_is_started_at_once(scene: Scene) -> None:
    """The agent ends by itself when the console's "restart" reaches it."""
    async with scene.launched(patience={"first_pause": 600.0, "longest_pause": 600.0}):
        await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
        await scene.page("/restart")
        await scene.runs("9.1.0", lives=2)


async def test_a_version_that_cannot_live_is_given_up_for_the_one_that_could(scene: Scene) -> None:
    scene.configure(behaviour="crash v9.2.0")
    async with scene.launched():
        await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
        await scene.wish("v9.2.0")
        await scene.runs("9.1.0", lives=5)
        assert scene.told()[:2] == ["started 9.1.0", "ended 9.1.0"]
        *given_up, last = scene.told()[2:]
        # One more may begin while it is looked for what else there is.
        assert len(given_up) >= TRIES
        assert set(given_up) == {"started 9.2.0"}
        assert last == "started 9.1.0"


async def test_a_version_that_never_answers_is_given_up_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its first life here: each takes as long as a healthy agent may need to start."""
    monkeypatch.setattr("pipecd.launcher.fallback.TRIES", 1)
    scene.configure(behaviour="silent v9.2.0")
    async with scene.launched(patience={"start": 30.0}):
        await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
        await scene.wish("v9.2.0")
        await scene.runs("9.1.0", lives=3)
        *given_up, last = scene.told()[2:]
        assert given_up[:2] == ["started 9.2.0", "ended 9.2.0"]
        assert set(given_up) == {"started 9.2.0", "ended 9.2.0"}
        assert last == "started 9.1.0"


async def test_what_failed_is_tried_again_after_a_while(scene: Scene) -> None:
    """Nobody changes the wish: what it lacked has come by itself."""
    scene.configure(behaviour="crash v9.2.0")
    async with scene.launched(patience={"forgive": 5.0}):
        await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
        await scene.wish("v9.2.0")

        async def given_up() -> bool:
            told = scene.told()
            return "started 9.2.0" in told and "started 9.1.0" in told[told.index("started 9.2.0") :]

        await eventually(given_up)
        (scene.folder / "mended").touch()
        await scene.runs("9.2.0")
        await scene.steady("v9.2.0")


async def test_with_the_control_plane_away_the_known_version_goes_on(scene: Scene, tmp_path: Path) -> None:
    scene.configure()
    async with scene.launched():
        await scene.wish("v9.2.0")
        await scene.runs("9.2.0")
        await scene.steady("v9.2.0")
    before = sum(one.startswith("started") for one in scene.told())
    text = scene.config.read_text().replace(scene.plane.address, "127.0.0.1:9")
    scene.config.write_text(text)
    async with scene.launched():
        await scene.runs("9.2.0", lives=before + 1)


async def test_old_versions_are_kept_to_fall_back_on_and_older_ones_go(scene: Scene) -> None:
    for version in ("v9.3.0", "v9.4.0"):
        publish(scene.folder / "releases", version)
    async with scene.launched():
        await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
        for version in ("v9.2.0", "v9.3.0", "v9.4.0"):
            await scene.wish(version)
            await scene.steady(version)

        async def kept() -> bool:
            """The old ones go right after the new one is known as good."""
            found = sorted(one.name for one in (scene.folder / "home" / "versions").iterdir())
            assert found == ["v9.2.0", "v9.3.0", "v9.4.0"]
            return True

        await eventually(kept)


async def test_one_port_speaks_for_both(scene: Scene) -> None:
    async with scene.launched():
        await scene.runs("9.1.0")
        await scene.shows("/metrics", 200, "agent_metric 1", "launcher_agent_up 1.0")
        (scene.folder / "unwell").touch()
        assert await scene.shows("/healthz", 503) == "out of touch"
        (scene.folder / "unwell").unlink()
        assert await scene.shows("/healthz", 200) == "ok"


async def test_it_is_unwell_when_the_agent_stays_away_too_long(scene: Scene) -> None:
    async with scene.launched(
        patience={"silence": 0.5, "start": 30.0, "first_pause": 600.0, "longest_pause": 600.0}
    ):
        life = await scene.runs("9.1.0")
        scene.configure(behaviour="crash", said="bad")
        os.kill(life["pid"], signal.SIGKILL)
        await scene.shows("/healthz", 503, "no agent answers: ")


async def test_it_is_unwell_when_no_agent_lives_however_often_one_is_started(scene: Scene) -> None:
    """After three lives the launcher's own version is tried; without --insecure it finds no control plane."""
    scene.configure(behaviour="crash")
    async with scene.launched(patience={"start": 5.0}):
        await scene.begun(TRIES)
        await scene.shows("/healthz", 503, "no agent answers: ")


async def test_a_second_port_tells_the_same(scene: Scene) -> None:
    (scene.port, second) = free_ports(2)
    async with scene.launched(launcher_admin_port=second):
        await scene.runs("9.1.0")
        scene.port = second
        assert await scene.shows("/healthz", 200) == "ok"
        assert await scene.version() == "v9.1.0"


async def test_a_hangup_looks_at_once(scene: Scene) -> None:
    async with scene.launched(check_interval=600.0):
        await scene.runs("9.1.0")
        scene.configure(said="second")
        os.kill(os.getpid(), signal.SIGHUP)
        await scene.runs("9.1.0", lives=2, config="second")


@contextmanager
def held_back(releases: Path) -> Iterator[tuple[str, threading.Event]]:
    """The URL of releases that are handed out only once the event is set."""
    go = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            go.wait()
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(releases)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", go
    finally:
        go.set()
        server.shutdown()
        server.server_close()


async def test_it_is_well_while_the_first_version_is_installed(scene: Scene) -> None:
    with held_back(scene.folder / "releases") as (releases, go):
        async with scene.launched(releases=releases):
            assert await scene.shows("/healthz", 200) == "ok: installing v9.1.0"
            go.set()
            await scene.runs("9.1.0")


async def test_an_agent_that_does_not_end_is_killed_after_its_grace(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipecd.launcher.agent.MARGIN", 0.0)
    scene.configure(behaviour="stubborn")
    async with scene.launched(grace_period=2.0):
        life = await scene.runs("9.1.0")
        scene.configure(said="second")
        await scene.runs("9.1.0", lives=2, config="second")
    with pytest.raises(ProcessLookupError):
        os.kill(life["pid"], 0)


async def test_no_agent_outlives_its_launcher(scene: Scene) -> None:
    async with scene.launched():
        life = await scene.runs("9.1.0")
    with pytest.raises(ProcessLookupError):
        os.kill(life["pid"], 0)
    assert scene.told() == ["started 9.1.0", "ended 9.1.0"]


async def test_the_written_configuration_is_for_nobody_elses_eyes(scene: Scene) -> None:
    async with scene.launched():
        await scene.runs("9.1.0")
        written = scene.folder / "home" / "piped.yaml"
        assert written.read_text() == scene.config.read_text()
        assert written.stat().st_mode & 0o777 == 0o600


async def test_what_the_agent_writes_is_handed_on_without_secrets(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    scene.configure(said="a word, and " + PASSWORD)
    async with scene.launched():
        await scene.runs("9.1.0")
        await scene.steady("v9.1.0")
    told = capfd.readouterr().err
    assert "the agent says a word, and ******" in told
    assert "the agent writes ******" in told
    assert "c4n4ry" not in told


async def test_two_launchers_do_not_share_a_folder(scene: Scene) -> None:
    async with scene.launched():
        await scene.runs("9.1.0")
        with pytest.raises(ConfigError, match="another launcher works in"):
            await launcher.run(chosen({"--config-file": str(scene.config)}), scene.options())


@dataclass
class Late:
    """A source that is away at first."""

    text: str
    outages: int

    async def read(self) -> Text:
        if self.outages:
            self.outages -= 1
            raise Temporary("the network is not up yet")
        return Text(text=self.text, name="late")


async def test_a_source_that_comes_up_late_is_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "START", Retry(base=0.01, cap=0.01, tries=3))
    source = Late(text=scene.config.read_text(), outages=2)
    task = asyncio.create_task(launcher.run(source, scene.options()))
    try:
        await scene.runs("9.1.0")
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=END)
    assert task.done()
    with pytest.raises(Temporary, match="the network is not up yet"):
        await launcher.run(replace(source, outages=3), scene.options())


async def test_a_refused_agent_is_told_at_the_start(scene: Scene) -> None:
    scene.key = "a key that nobody made and that nobody knows"
    scene.configure()
    with pytest.raises(ConfigError, match=r"refuses this agent: .*; check spec.projectID, spec.pipedID"):
        async with scene.launched() as task:
            await task


async def _was_tried(scene: Scene, version: str) -> bool:
    return (scene.folder / "home" / "versions" / version).exists()


async def _checks_failed(scene: Scene) -> float:
    metrics = await scene.shows("/metrics", 200, "launcher_checks_failed_total")
    return next(
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("launcher_checks_failed_total")
    )


async def _more_checks_failed(scene: Scene, number: float) -> bool:
    return await _checks_failed(scene) >= number
