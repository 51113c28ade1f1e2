"""Wheel and source distribution: they contain the console, and work in a clean environment of each Python."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx
import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from uv import find_uv_bin

from tests.cluster.build import user_cache
from tests.eventually import eventually
from tests.once import build_once
from tests.ports import free_ports

ROOT = Path(__file__).parents[1]
CONSOLE = Path("src/pipecd/console")
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = "quickstart,aws,gcp,kubernetes,postgres,otel"


def copy_tracked_files(folder: Path) -> None:
    """The files of a clean clone, with the changes of the work tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        # Tests and documentation are in no package.
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def build_packages(folder: Path) -> None:
    source = folder / "source"
    copy_tracked_files(source)
    shutil.copytree(ROOT / CONSOLE, source / CONSOLE)
    for builder in (WheelBuilder(str(source)), SdistBuilder(str(source))):
        list(builder.build(directory=str(folder)))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / CONSOLE / "index.html").exists():
        pytest.skip("the console is not built: make console")
    return build_once(tmp_path_factory, "packages", build_packages)


def files_of_wheel(folder: Path) -> dict[str, int]:
    """Size by name, without the list of hashes."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {
            file.filename: file.file_size
            for file in archive.infolist()
            if not file.filename.endswith("/RECORD")
        }


@pytest.mark.parametrize("builder", [WheelBuilder, SdistBuilder])
def test_a_package_of_a_clean_clone_is_refused_without_the_console(
    tmp_path: Path, builder: type[WheelBuilder | SdistBuilder]
) -> None:
    copy_tracked_files(tmp_path / "source")
    with pytest.raises(RuntimeError, match="the package must contain the console: run `make console` first"):
        list(builder(str(tmp_path / "source")).build(directory=str(tmp_path)))
    assert not [*tmp_path.glob("*.whl"), *tmp_path.glob("*.tar.gz")]


def test_a_wheel_contains_console_and_schema(packages: Path) -> None:
    names = files_of_wheel(packages).keys()
    assert "pipecd/console/index.html" in names
    assert any(name.startswith("pipecd/console/assets/") and name.endswith(".js") for name in names)
    assert "pipecd/schema/pipecd/v1/program_pb2.py" in names
    assert not [name for name in names if name.startswith(("tests/", "web/", "docs/"))]


def test_a_wheel_of_the_source_distribution_is_the_same(packages: Path, tmp_path: Path) -> None:
    (sdist,) = packages.glob("*.tar.gz")
    # Python 3.11.2, Debian 12's, has no filter for what an archive may contain.
    subprocess.run(["tar", "--extract", "--file", sdist, "--directory", tmp_path], check=True)
    (source,) = tmp_path.iterdir()
    list(WheelBuilder(str(source)).build(directory=str(tmp_path / "dist")))
    assert files_of_wheel(tmp_path / "dist") == files_of_wheel(packages)


@cache
def find_python(version: str) -> str:
    """Path of an interpreter of this version; empty if the machine has none that works."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for candidate in (shutil.which(f"python{version}"), *map(str, pyenv)):
        check = [candidate or "false", "-c", "import ssl, sqlite3"]
        if subprocess.run(check, capture_output=True, timeout=60, check=False).returncode == 0:
            return str(candidate)
    return ""


def stored_environment(version: str) -> Path:
    """Where an environment with our dependencies is stored for the user's next run, by what it consists of.

    Most of the time to install and check the wheel would be spent on compiling the dependencies.
    """
    digest = hashlib.sha256("\0".join((str(Path(find_python(version)).resolve()), EXTRAS)).encode())
    for file in ("pyproject.toml", "requirements/run.txt"):
        digest.update((ROOT / file).read_bytes())
    return user_cache() / "installed" / f"{version}-{digest.hexdigest()[:16]}"


@contextmanager
def stored_environments_locked() -> Iterator[None]:
    """Other runs of the tests use the same directories."""
    (user_cache() / "installed").mkdir(parents=True, exist_ok=True)
    with (user_cache() / "installed" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_stored_environment(version: str, folder: Path) -> bool:
    """Create `folder` with the dependencies that an earlier run stored. False if there are none."""
    with stored_environments_locked():
        if not (stored := stored_environment(version)).exists():
            return False
        shutil.copytree(stored, folder, symlinks=True, copy_function=link_or_copy)
        return True


def store_environment(version: str, folder: Path) -> None:
    """Store the dependencies of an environment that works, in place of older ones, unless they are stored."""
    with stored_environments_locked():
        if (stored := stored_environment(version)).exists():
            return
        for older in stored.parent.glob(f"{version}-*"):
            shutil.rmtree(older)
        unfinished = stored.with_name(f"{version}-unfinished")
        shutil.copytree(folder, unfinished, symlinks=True, copy_function=link_or_copy)
        python = unfinished / "bin" / "python"
        remove = [find_uv_bin(), "--quiet", "pip", "uninstall", "--python", str(python), "pipecd"]
        subprocess.run(remove, check=True, timeout=120)
        for bytecode in unfinished.glob("lib/python*/site-packages/pipecd"):
            shutil.rmtree(bytecode)
        unfinished.rename(stored)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def install(packages: Path, version: str, factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the wheel in an environment of that Python, once. Returns variables for its programs."""
    python = find_python(version)
    if not python:
        pytest.skip(f"Python {version} is not installed")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if index := os.environ.get("PIP_INDEX_URL"):
        variables.setdefault("UV_DEFAULT_INDEX", index)

    def build(folder: Path) -> None:
        (wheel,) = packages.glob("*.whl")
        uv = [find_uv_bin(), "--quiet"]
        if not copy_stored_environment(version, folder / "env"):
            # The directory is renamed afterwards.
            created = [*uv, "venv", "--relocatable", "--python", python, str(folder / "env")]
            subprocess.run(created, check=True, timeout=120)
        into = ["--python", str(folder / "env" / "bin" / "python")]
        constraints = ["--constraints", str(ROOT / "requirements" / "run.txt")]
        command = [*uv, "pip", "install", *into, *constraints, f"{wheel}[{EXTRAS}]"]
        subprocess.run(command, env=variables, check=True, timeout=600)

    environment = build_once(factory, f"installed-{version}", build) / "env"
    return {**variables, "PATH": f"{environment / 'bin'}{os.pathsep}{variables['PATH']}"}


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_can_be_installed_with_each_python(
    packages: Path, tmp_path_factory: pytest.TempPathFactory, version: str
) -> None:
    variables = install(packages, version, tmp_path_factory)
    command = [str(ROOT / ".ci" / "check-install")]
    checked = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert checked.returncode == 0, checked.stderr
    store_environment(version, Path(variables["PATH"].partition(os.pathsep)[0]).parent)


async def test_the_quickstart_runs_from_the_wheel(
    packages: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The README's path without make, with the newest Python of this machine."""
    version = next(version for version in reversed(PYTHONS) if find_python(version))
    variables = install(packages, version, tmp_path_factory)
    port, log = free_ports(6)[0], tmp_path / "log"
    program = shutil.which("pipecd", path=variables["PATH"])
    command = [str(program), "quickstart", f"--port={port}", f"--state-dir={tmp_path / 'state'}"]
    with log.open("w") as output:
        quickstart = subprocess.Popen(
            command, env=variables, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT
        )
    try:

        async def is_ready() -> bool:
            assert quickstart.poll() is None, log.read_text()
            return "PipeCD is ready" in log.read_text()

        await eventually(is_ready, 180)
        async with httpx.AsyncClient(timeout=60, verify=False) as http:
            page = await http.get(f"http://127.0.0.1:{port}/")
        assert page.status_code == 200 and "<title>PipeCD</title>" in page.text
    finally:
        quickstart.send_signal(signal.SIGINT)
        code = quickstart.wait(120)
    assert code == 0, log.read_text()
