"""Notices that the event loop of a program is blocked: logs it, counts it, and remarks it in `/healthz`.

A thread observes a task of the loop, because a blocked loop cannot observe itself. The log line has the place
where the loop is blocked, while it is.
"""

import asyncio
import faulthandler
import re
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

#: Registered by each program in its own registry, besides the default one.
BLOCKED_SECONDS = Counter(
    "event_loop_blocked_seconds", "How long the event loop was blocked, in periods of more than a second."
)
#: Frames of the stack that are logged, the innermost ones.
_MAX_FRAMES = 12
#: Of the text of `faulthandler`: the innermost frame of each thread comes first.
_THREAD = re.compile(r"(Current t|T)hread 0x(?P<ident>[0-9a-f]+) ")
_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>[0-9]+|\?+) in (?P<function>.*)')


@dataclass(frozen=True, kw_only=True)
class WatchdogSettings:
    """Times in seconds."""

    #: The loop is blocked if its task did not run for this long.
    threshold: float = 1.0
    #: Interval at which the task runs and the thread checks that it did.
    interval: float = 0.25
    #: How long `/healthz` mentions that the loop was blocked.
    remark_age: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """A period that has ended. Times of the monotonic clock, in seconds."""

    ended_at: float
    seconds: float


class Watchdog:
    """Real time, not a `Clock`: what it measures is the machine's."""

    def __init__(self, settings: WatchdogSettings | None = None) -> None:
        self._settings = settings or WatchdogSettings()
        self._ran_at = time.monotonic()
        self._last: Blocked | None = None
        self._stop = threading.Event()

    def remark(self) -> str:
        """That the loop was blocked recently, and for how long; empty if it was not."""
        if self._last is None:
            return ""
        age = time.monotonic() - self._last.ended_at
        if age > self._settings.remark_age:
            return ""
        return f"the event loop was blocked for {self._last.seconds:.1f} s, {age:.0f} s ago"

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the running loop while the block runs."""
        self._ran_at = time.monotonic()
        thread = threading.Thread(
            target=self._observe, args=(threading.get_ident(),), name="watchdog", daemon=True
        )
        thread.start()
        task = asyncio.create_task(self._run(), name="watchdog")
        try:
            yield
        finally:
            task.cancel()
            self._stop.set()

    async def _run(self) -> None:
        while True:
            self._ran_at = time.monotonic()
            await asyncio.sleep(self._settings.interval)

    def _observe(self, loop_thread: int) -> None:
        """Runs in the thread."""
        settings = self._settings
        blocked_since: float | None = None
        looked_at = time.monotonic()
        while not self._stop.wait(settings.interval):
            now = time.monotonic()
            if now - looked_at > settings.threshold:
                # This thread did not run either: the machine or the process was suspended, or is overloaded.
                self._ran_at = now
            looked_at = now
            ran_at = self._ran_at
            if blocked_since is None and now - ran_at > settings.threshold:
                blocked_since = ran_at
                log.warning("event_loop_blocked", seconds=round(now - ran_at, 1), frames=_frames(loop_thread))
            elif blocked_since is not None and ran_at > blocked_since:
                seconds = ran_at - blocked_since
                BLOCKED_SECONDS.inc(seconds)
                log.warning("event_loop_unblocked", seconds=round(seconds, 1))
                self._last = Blocked(ended_at=ran_at, seconds=seconds)
                blocked_since = None


def _frames(thread: int) -> list[str]:
    """The innermost frames of a thread, as `file:line function`: code only, no values.

    From the text of `faulthandler`, which makes no objects: with those of `sys._current_frames`, Python 3.11
    ended with a segmentation fault. Empty if there are too many threads, or no temporary files.
    """
    try:
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    frames: list[str] = []
    of_thread = False
    for line in text.splitlines():
        if header := _THREAD.match(line):
            of_thread = int(header["ident"], 16) == thread
        elif of_thread and (frame := _FRAME.match(line)):
            frames.append("{file}:{line} {function}".format_map(frame.groupdict()))
    return frames[:_MAX_FRAMES][::-1]
