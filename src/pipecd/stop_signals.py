"""Handles signals of a program that runs an event loop. Called by the programs when they start.

asyncio's own handlers write to a pipe of the loop, which the loop closes before it removes them: a signal
while a program ends would print an error. These last until the process ends, and its children do not inherit
them.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress


def call_at_stop_signal(stop: Callable[[str], object]) -> None:
    """Call `stop` in the running loop with the name of the first SIGTERM or SIGINT; ignore further ones."""
    loop = asyncio.get_running_loop()
    received = False

    def handle(number: int, _: object) -> None:
        nonlocal received
        if not received:
            received = True
            _call(loop, lambda: stop(signal.Signals(number).name))

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, handle)


def call_at_signal(number: signal.Signals, function: Callable[[], object]) -> None:
    """Call `function` in the running loop whenever the process receives the signal."""
    loop = asyncio.get_running_loop()
    signal.signal(number, lambda *_: _call(loop, function))


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    # The loop may have ended.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)
