"""A private PostgreSQL for tests: its own cluster in a temporary folder, on a socket, gone at the end."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def binary(name: str) -> Path | None:
    """Debian keeps them away from PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if found:
        return found[-1]
    here = shutil.which(name)
    return Path(here) if here else None


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """The URL of its database `postgres`, reached over a socket."""
    data, sockets = folder / "data", folder / "s"
    sockets.mkdir()
    user = _user(folder)
    _run(user, binary("initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
    restart(folder)
    try:
        yield f"postgresql+asyncpg://postgres@/postgres?host={sockets}"
    finally:
        _run(user, binary("pg_ctl"), "-D", data, "-m", "immediate", "stop")


def restart(folder: Path) -> None:
    """Start the cluster in `folder`, also after a crash."""
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder / 's'}' -c fsync=off"
    start = ("-D", folder / "data", "-w", "-t", "150", "-l", folder / "log", "-o", options, "start")
    _run(_user(folder), binary("pg_ctl"), *start)


def crash(folder: Path) -> None:
    """As when the power goes."""
    server = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
    # It must not start another child between the look and the kill: that one would keep its memory.
    server.suspend()
    gone = [server, *server.children()]
    for process in gone:
        process.kill()
    _, left = psutil.wait_procs(gone, timeout=60)
    assert not left


def _user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("postgres")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    for parent in folder.parents:
        if parent.owner() == "root" and parent.stat().st_mode & 0o777 == 0o700 and parent != Path("/root"):
            parent.chmod(0o711)
    return "postgres"


def _run(user: str | None, *command: object) -> None:
    subprocess.run(
        [str(part) for part in command],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        timeout=180,
        cwd="/",
    )
