"""A share of one CPU for a process and all that it starts, as the kernel's CPU quota gives it.

    with throttled(process.pid, share=0.25) as quota:
        …
    assert quota.used <= 0.25 * seconds

In each period of 100 ms the processes run until they have used their part of it together, and are stopped
until it ends. What they used too much is missing in the periods after; what they did not use is gone. It is
done from outside, by their CPU times, SIGSTOP and SIGCONT, so it needs neither a cgroup nor a right beyond
that of signalling them. Used by the tests beside this, and by `bench`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

#: As long as the kernel's (seconds).
PERIOD = 0.1
#: How often to look what was used (seconds).
LOOK = 0.005


@dataclass
class Quota:
    """What is used of `share` in so many seconds is `share` times as many CPU seconds, however long they last
    here: a machine with other work gives less than the share."""

    share: float
    #: CPU seconds so far.
    used: float = 0.0
    #: Periods so far, and those whose part was used up.
    periods: int = 0
    exhausted: int = 0

    def seconds(self) -> float:
        """In which all that was used so far could have been had at the full share."""
        return self.used / self.share


@contextmanager
def throttled(pid: int, *, share: float) -> Iterator[Quota]:
    """`pid` and its descendants get at most `share` of one CPU until the block ends."""
    quota, over = Quota(share=share), threading.Event()
    thread = threading.Thread(target=_throttle, args=(pid, quota, over), daemon=True)
    thread.start()
    try:
        yield quota
    finally:
        over.set()
        thread.join(60)
        assert not thread.is_alive()


def tree(pid: int) -> Sequence[psutil.Process]:
    """The process and its descendants; none when it is gone."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Used by them since each began, and by those of their children that ended."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def _throttle(pid: int, quota: Quota, over: threading.Event) -> None:
    before, debt, until = cpu_seconds(tree(pid)), 0.0, time.monotonic()
    while not over.is_set():
        until = max(until + PERIOD, time.monotonic())
        part, spent = quota.share * PERIOD - debt, 0.0
        while spent < part and time.monotonic() < until:
            over.wait(LOOK)
            spent = max(spent, cpu_seconds(tree(pid)) - before)
        stopped: list[psutil.Process] = []
        if (rest := until - time.monotonic()) > 0 and not over.is_set():
            # Twice: what was born after the first look is caught by the second.
            for _ in range(2):
                stopped += tree(pid)
                _each(stopped, psutil.Process.suspend)
            over.wait(rest)
            quota.exhausted += 1
        now = max(before, cpu_seconds(tree(pid)))
        debt = max(0.0, now - before - part)
        quota.used += now - before
        quota.periods += 1
        before = now
        # Also those whose parent was ending, which belong to the tree no more.
        _each(stopped, psutil.Process.resume)


def _each(processes: Sequence[psutil.Process], signal: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            signal(process)
