"""Limits a process and its descendants to a share of one CPU, as the kernel's CPU quota does.

    with limit_cpu(process.pid, share=0.25) as quota:
        …
    assert quota.used <= 0.25 * seconds

In each period of 100 ms the processes run until they have used their share of it together, and are stopped
until it ends. An overrun is deducted from the following periods; unused time is lost. The limit is imposed
from outside, through CPU times, SIGSTOP and SIGCONT, so it needs neither a cgroup nor a privilege beyond
signalling the processes. Used by the tests in this directory and by `bench`.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Length of a period, the kernel's default (seconds).
PERIOD = 0.1
#: Interval at which the used CPU time is sampled (seconds).
SAMPLE_INTERVAL = 0.01
#: `Process.children` reads files of all processes of the machine, which takes longer than this interval.
_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()


@dataclass
class CpuQuota:
    """CPU time used under a limit.

    Assert on `seconds_at_full_share()` instead of wall-clock time: a busy machine gives the processes less
    than their share.
    """

    share: float
    #: CPU time used so far (seconds).
    used: float = 0.0
    #: Periods so far, and how many of them used up their share.
    periods: int = 0
    exhausted: int = 0

    def seconds_at_full_share(self) -> float:
        """Time in which the CPU time used so far is available at the full share (seconds)."""
        return self.used / self.share


@contextmanager
def limit_cpu(pid: int, *, share: float) -> Iterator[CpuQuota]:
    """Limit `pid` and its descendants to `share` of one CPU until the block ends."""
    quota, stop = CpuQuota(share=share), threading.Event()
    thread = threading.Thread(target=_throttle, args=(pid, quota, stop), daemon=True)
    thread.start()
    try:
        yield quota
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def process_tree(pid: int) -> Sequence[psutil.Process]:
    """The process and its descendants; empty if the process has ended."""
    tree: list[psutil.Process] = []
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        with suppress(psutil.NoSuchProcess, OSError):
            process = psutil.Process(current)
            tree.append(process)
            if not _LISTS_CHILDREN:
                waiting += [child.pid for child in process.children()]
                continue
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return tree


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time of the processes since they started, including that of their ended children (seconds)."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def _throttle(pid: int, quota: CpuQuota, stop: threading.Event) -> None:
    used_before, overrun, period_end = cpu_seconds(process_tree(pid)), 0.0, time.monotonic()
    while not stop.is_set():
        period_end = max(period_end + PERIOD, time.monotonic())
        budget, used = quota.share * PERIOD - overrun, 0.0
        # Listed once, which takes most of a sample's time; a new process is sampled from the next period.
        tree = process_tree(pid)
        while used < budget and time.monotonic() < period_end:
            stop.wait(SAMPLE_INTERVAL)
            used = max(used, cpu_seconds(tree) - used_before)
        suspended: list[psutil.Process] = []
        if (remaining := period_end - time.monotonic()) > 0 and not stop.is_set():
            # Twice: a process started during the first pass is suspended by the second.
            for _ in range(2):
                suspended += process_tree(pid)
                _for_each(suspended, psutil.Process.suspend)
            stop.wait(remaining)
            quota.exhausted += 1
        used_now = max(used_before, cpu_seconds(process_tree(pid)))
        overrun = max(0.0, used_now - used_before - budget)
        quota.used += used_now - used_before
        quota.periods += 1
        used_before = used_now
        # Includes processes whose parent has ended meanwhile and which are no longer in the tree.
        _for_each(suspended, psutil.Process.resume)


def _for_each(processes: Sequence[psutil.Process], action: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            action(process)
