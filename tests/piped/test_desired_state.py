"""When an application's files are read again, and how much of what was read is kept."""

import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.errors import ConfigError, Place
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import Application, GitPath
from pipecd.model.stage import Source
from pipecd.piped.observe.desired_cache import DesiredStateCache
from pipecd.piped.observe.desired_state import NothingDeclared, ObservationRequests
from pipecd.piped.settings import DesiredStateSettings
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.heads import Heads
from pipecd.piped.source.read_paths import find_read_paths
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.platforms import in_thread
from pipecd.secrets import Redactor
from tests.model.samples import deployment
from tests.piped.test_observe import NoProviders
from tests.platforms.altered import alter_platform
from tests.repo import Clone, local_clone
from tests.stages.stage_runner import application
from tests.world import app_file


@dataclass
class Reading:
    """Reads the file `value`, and counts how often."""

    requests: ObservationRequests
    clone: Clone
    #: The directories that were read, in order.
    read: list[str] = field(default_factory=list)

    def load(self, source: Source) -> str:
        self.read.append(source.directory.name)
        return (source.directory / "value").read_text()

    async def check(self, name: str, path: str = "") -> tuple[bytes | None, str, str]:
        """The digest before the check, the desired state, and the commit."""
        app = app_at(name, path or name)
        async with self.requests.build(app, max_head_age=0.0) as observation:
            assert observation
            digest = observation.digest
            request = await observation.request()
            return digest, request.desired, observation.commit

    def push(self, files: dict[str, str | None]) -> str:
        return self.clone.commit_and_push("Change", files)


class Providers(NoProviders):
    def of_kind(self, kind: str) -> Any:
        return None


def app_at(name: str, path: str) -> Application:
    return replace(
        application(deployment()),
        id=name,
        name=name,
        kind="TERRAFORM",
        git_path=GitPath(repo_id="r", path=path),
    )


@asynccontextmanager
async def open_requests(folder: Path, clone: Clone) -> AsyncIterator[ObservationRequests]:
    """Those of an agent with the repository `r`."""
    async with Mirrors(folder / "home", Credentials(), User()) as mirrors:
        repositories = {"r": Repository(id="r", remote=clone.remote, branch="main")}
        yield ObservationRequests(
            Heads(mirrors, repositories),
            Sources(mirrors, repositories, Renderer(None, Redactor().add)),
            Providers(),  # type: ignore[arg-type]
            lambda text: text,
            SYSTEM_CLOCK,
            DesiredStateSettings(),
        )


@pytest.fixture
async def reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reading]:
    clone = local_clone(tmp_path, "r")
    async with open_requests(tmp_path, clone) as requests:
        result = Reading(requests, clone)
        alter_platform(
            monkeypatch, "TERRAFORM", load_desired_state=in_thread(lambda source: result.load(source))
        )
        yield result


def files(*names: str) -> dict[str, str | None]:
    """The files of applications that are named like their directories."""
    apps: dict[str, str | None] = {}
    for name in names:
        apps |= {f"{name}/app.pipecd.yaml": app_file(name), f"{name}/value": "1"}
    return apps


async def test_a_push_to_another_application_reads_nothing_again(reading: Reading) -> None:
    reading.push(files("a", "b"))
    first = await reading.check("a")
    await reading.check("b")
    commit = reading.push({"b/value": "2", "README.md": "new"})
    digest, desired, seen = await reading.check("a")
    assert digest is not None and (desired, seen) == ("1", commit) and first[2] != commit
    assert await reading.check("b") == (None, "2", commit)
    assert reading.read == ["a", "b", "b"]
    again, _, _ = await reading.check("a")
    assert again == digest
    assert reading.read == ["a", "b", "b"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"a/value": "2"}, id="a file"),
        pytest.param({"a/deep/er": "2"}, id="a file in a new directory"),
        pytest.param({"a/app.pipecd.yaml": app_file("renamed")}, id="the application's file"),
        pytest.param({"shared/x.tfvars": "b=2"}, id="a file that the application's file names"),
        pytest.param({".gitattributes": "*.txt eol=crlf"}, id="attributes above the directory"),
        pytest.param({".gitmodules": "[submodule]"}, id="submodules"),
        pytest.param({"a/value": "1", "a/old": None}, id="a deleted file"),
    ],
)
async def test_what_an_application_is_made_of_is_read_again_when_it_changes(
    reading: Reading, change: dict[str, str | None]
) -> None:
    file = app_file("a", input={"varFiles": ["../shared/x.tfvars"]})
    reading.push({"a/app.pipecd.yaml": file, "a/value": "1", "a/old": "1", "shared/x.tfvars": "b=1"})
    await reading.check("a")
    reading.push({"elsewhere/file": "1", "elsewhere/.gitattributes": "* text"})
    await reading.check("a")
    assert reading.read == ["a"]
    reading.push(change)
    assert (await reading.check("a"))[0] is None
    assert reading.read == ["a", "a"]


async def test_where_links_lead_is_not_followed_so_each_commit_is_read(reading: Reading) -> None:
    reading.push(files("a", "b"))
    (reading.clone.path / "a" / "link").symlink_to("../b/value")
    reading.push({"README.md": "links"})
    await reading.check("a")
    reading.push({"b/value": "2"})
    await reading.check("a")
    assert reading.read == ["a", "a"]


def test_the_directories_that_were_read_are_told_only_if_nothing_leads_elsewhere(tmp_path: Path) -> None:
    for directory in ("apps/a/sub", "shared", "outside"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "shared" / "x").write_text("")
    root = tmp_path / "apps"
    source = Source(commit="c", root=tmp_path, directory=root / "a", config=None)
    assert find_read_paths("apps/a", source, []) == ["apps/a"]
    assert find_read_paths("./apps/a/", source, [Path("../../shared/x")]) == ["apps/a", "shared"]
    assert find_read_paths("apps/a", source, [Path("../../shared/missing/y")]) == ["apps/a", "shared"]
    assert find_read_paths("apps/a", source, None) is None
    assert find_read_paths("apps/a", source, [Path("../../../elsewhere")]) is None
    (root / "linked").symlink_to("a")
    assert find_read_paths("apps/linked", source, []) is None
    (tmp_path / "shared" / "link").symlink_to("../outside")
    assert find_read_paths("apps/a", source, [Path("../../shared/x")]) is None


async def test_a_platform_that_cannot_tell_what_it_reads_reads_each_commit(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_platform(monkeypatch, "TERRAFORM", reads=lambda source: None)
    reading.push(files("a"))
    for number in range(2):
        reading.push({"elsewhere": str(number)})
        await reading.check("a")
        await reading.check("a")
    assert reading.read == ["a", "a"]


async def test_an_application_in_the_root_reads_each_commit(reading: Reading) -> None:
    reading.push({"app.pipecd.yaml": app_file("a"), "value": "1"})
    await reading.check("a", path=".")
    await reading.check("a", path=".")
    reading.push({"other": "1"})
    await reading.check("a", path=".")
    assert len(reading.read) == 2


async def test_a_moved_application_is_read_again(reading: Reading) -> None:
    reading.push(files("a", "b"))
    await reading.check("a")
    await reading.check("a", path="b")
    assert reading.read == ["a", "b"]


def random_texts(count: int, size: int) -> Sequence[bytes]:
    return [os.urandom(size) for _ in range(count)]


async def test_desired_states_of_a_thousand_applications_are_not_kept() -> None:
    cache = DesiredStateCache(max_bytes=1_000_000)
    for number, text in enumerate(random_texts(1000, 10_000)):
        await cache.store(f"app-{number}", b"d", (text,))
        assert cache.size <= 1_000_000
    kept = [number for number in range(1000) if await cache.load(f"app-{number}", b"d")]
    assert 90 <= len(kept) <= 100 and kept[-1] == 999, "the newest ones"


async def test_the_least_recently_used_state_is_dropped() -> None:
    cache = DesiredStateCache(max_bytes=3_100)
    for key, text in zip("abc", random_texts(3, 900), strict=True):
        await cache.store(key, b"d", (text,))
    assert await cache.load("a", b"d")
    await cache.store("d", b"d", (os.urandom(900),))
    assert [key for key in "abcd" if await cache.load(key, b"d")] == ["a", "c", "d"]
    cache.prune({"a"})
    assert await cache.load("a", b"d") and not await cache.load("c", b"d")
    assert not await cache.load("a", b"other"), "another content"


async def test_a_state_that_cannot_be_packed_or_is_too_large_is_not_kept() -> None:
    cache = DesiredStateCache(max_bytes=1000)
    await cache.store("small", b"d", ("text",))
    for value in (threading.Lock(), lambda: None, os.urandom(5000)):
        await cache.store("other", b"d", (value,))
        assert await cache.load("other", b"d") is None
    assert await cache.load("small", b"d") == ("text",)
    await cache.store("small", b"e", (threading.Lock(),))
    assert await cache.load("small", b"d") is None and cache.size == 0, "an older state is not used either"


async def test_an_application_that_scripts_deploy_needs_no_files_of_its_platform(reading: Reading) -> None:
    stage = {"name": "SCRIPT_RUN", "with": {"run": "sam deploy"}}
    reading.push({"a/app.pipecd.yaml": app_file("a", pipeline={"stages": [stage]})})

    def load(source: Source) -> str:
        reading.read.append(source.directory.name)
        raise ConfigError("file not found", place=Place("a/function.yaml"))

    reading.load = load  # type: ignore[method-assign]
    with pytest.raises(NothingDeclared):
        await reading.check("a")
    async with reading.requests.build(app_at("a", "a"), max_head_age=0.0) as observation:
        assert observation is None
    assert reading.read == ["a"]
    reading.push({"a/app.pipecd.yaml": app_file("a")})
    with pytest.raises(ConfigError, match="file not found"):
        await reading.check("a")
