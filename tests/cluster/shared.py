"""The cluster that all tests of one run share. Tests separate their objects by namespaces.

The first worker of pytest-xdist that needs the cluster starts a process that starts and owns it. Each worker
that uses the cluster holds a lock until it ends, so the process learns when the last one has ended, even by
SIGKILL, and ends the cluster.
"""

import base64
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from pipecd.quickstart.simulated_cluster.control_plane import START_TIMEOUT
from tests.cluster.build import binary_path
from tests.cluster.control_plane import Cluster, ControlPlane

#: The locks that this process holds until it ends.
_locks: list[int] = []


def shared_cluster(factory: pytest.TempPathFactory, name: str = "cluster") -> Cluster:
    """The cluster `name` of this run."""
    # Each worker of pytest-xdist has its own directory below that of the run.
    root = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    return _shared_cluster(root / name)


@cache
def _shared_cluster(directory: Path) -> Cluster:
    binary = binary_path()
    if not binary.exists():
        pytest.fail(f"the test cluster is not built: run `make cluster` ({binary} is missing)", pytrace=False)
    directory.mkdir(exist_ok=True)
    _hold(directory / "users", fcntl.LOCK_SH)
    with (directory / "starting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = directory / "ready.json"
        if not ready.exists():
            _start(binary, directory, ready)
    return Cluster.from_json(ready.read_text())


def _start(binary: Path, directory: Path, ready: Path) -> None:
    with (directory / "owner.log").open("wb") as log:
        owner = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.shared", str(binary), str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
    deadline = time.monotonic() + 2 * START_TIMEOUT
    while not ready.exists():
        if owner.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the test cluster did not start: {(directory / 'owner.log').read_text()}")
        time.sleep(0.05)


@contextlib.contextmanager
def usage(cluster: Cluster, *, exclusive: bool) -> Iterator[None]:
    """Waits until no other test uses the cluster exclusively, or with `exclusive`, at all."""
    with (cluster.directory.parent / "usage").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


class Outage:
    """Kills and starts the API server of a shared cluster. No other test may use the cluster then."""

    def __init__(self, cluster: Cluster) -> None:
        self._directory = cluster.directory.parent

    def begin(self, *, forget_versions: bool = False) -> None:
        """Kills the API server. With `forget_versions`, watches cannot continue from where they were."""
        self._request("forget" if forget_versions else "kill")

    def end(self) -> None:
        """Starts it again, and waits until it is ready. Does nothing if it runs."""
        self._request("start")

    def _request(self, command: str) -> None:
        request, done = self._directory / "request", self._directory / "done"
        done.unlink(missing_ok=True)
        request.write_text(command)
        os.kill(int((self._directory / "owner.pid").read_text()), signal.SIGUSR1)
        deadline = time.monotonic() + START_TIMEOUT
        while not done.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{command}: {(self._directory / 'owner.log').read_text()}")
            time.sleep(0.02)


def _obey(plane: ControlPlane, directory: Path) -> None:
    match (directory / "request").read_text():
        case "start":
            plane.start_api_server()
        case command:
            plane.kill("kube-apiserver")
            if command == "forget":
                _forget_versions(plane)
    (directory / "done").touch()


def _forget_versions(plane: ControlPlane) -> None:
    """Compacts etcd: watches of versions before now expire, as they do after five minutes."""
    # Two versions that no watch sees, so that none can be at the last one.
    for _ in range(2):
        answer = _call_etcd(plane, "put", {"key": base64.b64encode(b"/test").decode(), "value": ""})
    _call_etcd(plane, "compaction", {"revision": answer["header"]["revision"]})


def _call_etcd(plane: ControlPlane, method: str, body: Any) -> Any:
    request = Request(f"{plane.etcd_url}/v3/kv/{method}", data=json.dumps(body).encode(), method="POST")
    with urlopen(request, timeout=30.0) as response:
        return json.load(response)


def _own(binary: Path, directory: Path) -> None:
    """Starts the cluster, and ends it when no process holds the lock of its users."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    plane = ControlPlane(binary, directory / "state")
    with plane as cluster:
        (directory / "owner.pid").write_text(str(os.getpid()))
        signal.signal(signal.SIGUSR1, lambda *_: _obey(plane, directory))
        unfinished = directory / "ready.unfinished"
        unfinished.write_text(cluster.to_json())
        unfinished.rename(directory / "ready.json")
        _hold(directory / "users", fcntl.LOCK_EX)


def _hold(file: Path, kind: int) -> None:
    """Takes a lock that this process keeps until it ends."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, kind)
    _locks.append(descriptor)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _own(Path(sys.argv[1]), Path(sys.argv[2]))
