"""A container's first process, when that is one of ours: it collects children that nobody else waits for.

Called by `__main__` for programs that run others. A guard of `process` outlives the program it guards by a
moment and then belongs to the first process; if that did not wait for it, the container would fill up
with dead ones.
"""

import os
import signal

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)


def stay_first() -> None:
    """Returns in the process that goes on to do the work, at once unless this is the first one."""
    if os.getpid() == 1:
        hand_over()


def hand_over() -> None:
    """Returns in a child. This process stays, hands signals on, and ends as the child ends."""
    child = os.fork()
    if child == 0:
        return
    for number in _HANDED_ON:
        signal.signal(number, lambda caught, _: os.kill(child, caught))
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
