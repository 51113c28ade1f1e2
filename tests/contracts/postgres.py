"""A temporary PostgreSQL cluster for tests: in its own directory, on a Unix socket, stopped at the end."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def binary(name: str) -> Path | None:
    """Path of a PostgreSQL program; Debian does not install them in PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if installed:
        return installed[-1]
    path = shutil.which(name)
    return Path(path) if path else None


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Run a cluster; yields the URL of its database `postgres` on a Unix socket."""
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


def cpu_seconds(folder: Path) -> float:
    """CPU time that the cluster in `folder` has used, with its background processes."""
    server = _server(folder)
    of_server = server.cpu_times()
    seconds = of_server.user + of_server.system + of_server.children_user + of_server.children_system
    for child in server.children():
        # One that has ended meanwhile is in the next answer, as a child of the server.
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            seconds += times.user + times.system
    return seconds


def crash(folder: Path) -> None:
    """Kill the cluster, as in a power failure."""
    server = _server(folder)
    # Suspend it, so that it cannot start a child before the kill; that child would keep the shared memory.
    server.suspend()
    processes = [server, *server.children()]
    for process in processes:
        # Once the server is dead, its children end by themselves.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


def _server(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))


def _user(folder: Path) -> str | None:
    """User to run PostgreSQL as: it refuses to run as root."""
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
    # Not `user=`: that forks this process, whose libraries have threads.
    runuser = ("runuser", "-u", user, "--") if user else ()
    subprocess.run(
        [str(part) for part in (*runuser, *command)],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=180,
        cwd="/",
    )
