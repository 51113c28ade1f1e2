"""Free ports, for servers that a test restarts on the same address."""

import os
import random
import socket
from collections.abc import Sequence
from contextlib import ExitStack

#: Below the ephemeral ports: an outgoing connection could take one of those while the server is down.
_FIRST, _LAST = 20_000, 32_000
#: Each worker of pytest-xdist uses its own part of the range, so that two workers never choose the same port.
_PARTS = 16
_ATTEMPTS = 100


def free_ports(count: int) -> Sequence[int]:
    """`count` consecutive ports that are currently free."""
    size = (_LAST - _FIRST) // _PARTS
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = _FIRST + worker % _PARTS * size
    for _ in range(_ATTEMPTS):
        first = random.randint(start, start + size - count)
        ports = range(first, first + count)
        if _all_free(ports):
            return ports
    raise AssertionError(f"no {count} free ports between {start} and {start + size}")


def _all_free(ports: Sequence[int]) -> bool:
    with ExitStack() as stack:
        for port in ports:
            try:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
