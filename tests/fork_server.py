"""Forks processes from one that has imported what they need, and reports their ends.

A client connects to the server's socket, and sends its standard files and a message. The server forks a
process that handles the message, and answers with its id and, when it ends, with its exit code. If the client
ends, even by SIGKILL, its processes are killed.

    python tests/fork_server.py ADDRESS      waits for a forked process, which has its standard files
"""

import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

#: What the server answers: the id of the process, and later its exit code, negative for a signal.
_ANSWER = struct.Struct("i")
#: The size of the message, which follows.
_REQUEST = struct.Struct("I")
#: The server that forked this process, or None.
own_server: str | None = None
#: Connections of processes that run: a process is killed when its connection is closed.
_running = set[socket.socket]()


class Fork:
    """A process that a server has forked."""

    def __init__(self, address: str, files: Sequence[int], message: bytes) -> None:
        """`files`: its stdin, stdout and stderr."""
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        socket.send_fds(self._connection, [_REQUEST.pack(len(message))], files)
        self._connection.sendall(message)
        answer = _receive(self._connection, _ANSWER.size)
        if not answer:
            raise RuntimeError("the server that forks processes has ended")
        self.pid: int = _ANSWER.unpack(answer)[0]
        self._code: int | None = None
        self._lock = threading.Lock()
        _running.add(self._connection)

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, negative for a signal; None if the process still runs after `timeout` seconds.

        Can be called by several threads at a time.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            ended = selector.select(timeout)
        with self._lock:
            if ended and self._code is None:
                answer = _receive(self._connection, _ANSWER.size)
                # Without an answer, the server was killed.
                (self._code,) = _ANSWER.unpack(answer) if answer else (-signal.SIGKILL,)
                _running.discard(self._connection)
            return self._code


@contextmanager
def server(command: Sequence[str], folder: Path | None = None) -> Iterator[str]:
    """Run `command`, in `folder`, with the descriptor of a listening socket. Yields the socket's address.

    At the end, waits until all processes of the server have ended, so that their CPU time counts as that of
    this process's children.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pipecd-forks-") as directory,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        address = str(Path(directory, "socket"))
        listener.bind(address)
        listener.listen(100)
        descriptor = listener.fileno()
        process = subprocess.Popen(
            [*command, str(descriptor)], stdin=subprocess.PIPE, pass_fds=[descriptor], cwd=folder
        )
        listener.close()
        try:
            yield address
        finally:
            for connection in _running:
                connection.close()
            _running.clear()
            process.communicate()


def serve(descriptor: int, prepare: Callable[[], object] = lambda: None) -> bytes | None:
    """Fork a process for each connection until standard input ends, and wait for their ends.

    `prepare` is called before a process is forked for a message that is not empty. Returns the message in
    each forked process, which has the client's standard files; in the server, None.
    """
    global own_server
    listener = socket.socket(fileno=descriptor)
    own_server = listener.getsockname()
    # Ctrl-C stops the process that distributes the tests, which then closes this one's standard input.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup)
    clients = dict[int, socket.socket]()
    with selectors.DefaultSelector() as selector:
        for source in (0, ended, listener):
            selector.register(source, selectors.EVENT_READ)
        while clients or 0 in selector.get_map():
            for key, _ in selector.select():
                if key.fd == 0:
                    selector.unregister(0)
                elif key.fd == ended:
                    os.read(ended, 4096)
                    for pid, code in _ended_children():
                        if client := clients.pop(pid, None):
                            selector.unregister(client)
                            with client, suppress(OSError):
                                client.sendall(_ANSWER.pack(code))
                elif key.fileobj is listener:
                    client, _ = listener.accept()
                    header, files, _, _ = socket.recv_fds(client, _REQUEST.size, 3)
                    message = _receive(client, _REQUEST.unpack(header)[0]) if header else None
                    if message:
                        prepare()
                    if message is None or len(files) != 3:
                        client.close()
                    elif pid := os.fork():
                        clients[pid] = client
                        selector.register(client, selectors.EVENT_READ, pid)
                        with suppress(OSError):
                            client.sendall(_ANSWER.pack(pid))
                    else:
                        for opened in (listener, client, *clients.values()):
                            opened.close()
                        signal.set_wakeup_fd(-1)
                        for pipe in (ended, wakeup):
                            os.close(pipe)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        signal.signal(signal.SIGINT, interrupt)
                        _use(files)
                        return message
                    for file in files:
                        os.close(file)
                elif key.data in clients:
                    # The client has ended.
                    selector.unregister(key.fileobj)
                    clients.pop(key.data).close()
                    os.kill(key.data, signal.SIGKILL)
    return None


def run_and_exit(function: Callable[[], object]) -> None:
    """End this forked process with `function`, without what ends the interpreter that it was forked from."""
    code: object = 1
    try:
        function()
        code = 0
    except SystemExit as exit_:
        code = exit_.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:  # noqa: BLE001
        # As an interpreter does.
        sys.excepthook(*sys.exc_info())
    finally:
        # Joins the threads that a program has not ended.
        threading._shutdown()  # type: ignore[attr-defined]
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code & 255 if isinstance(code, int) else 1)


def _ended_children() -> Iterator[tuple[int, int]]:
    """Process ids and exit codes."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _use(files: Sequence[int]) -> None:
    """Use `files` as standard files, and a new main module."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # Processes that multiprocessing starts would import the server's, and click would name programs after it.
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115


def _receive(connection: socket.socket, size: int) -> bytes | None:
    """Exactly `size` bytes; None if the connection ends before."""
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            return None
        received += part
    return received


def _connect(address: str) -> int:
    """Let the server fork a process with this one's standard files. Returns its exit code."""
    # Ctrl-C is sent to the forked process as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return (Fork(address, [0, 1, 2], b"").wait() or 0) & 255


if __name__ == "__main__":
    sys.exit(_connect(sys.argv[1]))
