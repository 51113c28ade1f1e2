"""Ports for what a test stops and starts again on the same address."""

import random
import socket
from collections.abc import Sequence
from contextlib import ExitStack

#: Below those that systems give to outgoing connections: one of those could take the port in between.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 100


def free_ports(count: int) -> Sequence[int]:
    """As many in a row, on none of which somebody listens now."""
    for _ in range(_TRIES):
        first = random.randint(_FIRST, _LAST - count)
        row = range(first, first + count)
        if _free(row):
            return row
    raise AssertionError(f"no {count} free ports between {_FIRST} and {_LAST}")


def _free(ports: Sequence[int]) -> bool:
    with ExitStack() as held:
        for port in ports:
            try:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
