"""Ports for what a test stops and starts again on the same address."""

import os
import random
import socket
from collections.abc import Sequence
from contextlib import ExitStack

#: Below those that systems give to outgoing connections: one of those could take the port in between.
_FIRST, _LAST = 20_000, 32_000
#: Each worker of pytest-xdist has a part of its own: two that look at once do not choose the same.
_PARTS = 16
_TRIES = 100


def free_ports(count: int) -> Sequence[int]:
    """As many in a row, on none of which somebody listens now."""
    size = (_LAST - _FIRST) // _PARTS
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = _FIRST + worker % _PARTS * size
    for _ in range(_TRIES):
        first = random.randint(start, start + size - count)
        row = range(first, first + count)
        if _free(row):
            return row
    raise AssertionError(f"no {count} free ports between {start} and {start + size}")


def _free(ports: Sequence[int]) -> bool:
    with ExitStack() as held:
        for port in ports:
            try:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
