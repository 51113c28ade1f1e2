"""Reaps orphaned child processes when a program runs as a container's first process (PID 1).

Called by `__main__` for programs that start other programs. The guard process of `process` outlives the
program it guards by a moment and is then reparented to PID 1; if PID 1 did not wait for it, zombie processes
would accumulate in the container.
"""

import os
import signal

_FORWARDED_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGQUIT,
)


def fork_if_pid1() -> None:
    """Return immediately unless this process is PID 1; otherwise return in the forked child."""
    if os.getpid() == 1:
        fork_and_reap()


def fork_and_reap() -> None:
    """Return in a forked child. The parent forwards signals and exits with the child's exit code."""
    child = os.fork()
    if child == 0:
        return
    for number in _FORWARDED_SIGNALS:
        signal.signal(number, lambda received, _: os.kill(child, received))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
