"""Signals end a program once, and print nothing however many of them there are."""

import signal
import subprocess
import sys

#: Stops at the first signal, and receives more of them until the process has ended.
PROGRAM = """
import asyncio, os, signal, threading
from pipecd.stop_signals import call_at_signal, call_at_stop_signal

stops = []

def send_forever():
    while True:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)

async def main():
    stopped, reloaded = asyncio.Event(), asyncio.Event()

    def stop(name):
        stops.append(name)
        stopped.set()

    call_at_stop_signal(stop)
    call_at_signal(signal.SIGHUP, reloaded.set)
    for number in (signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
    await reloaded.wait()
    await stopped.wait()
    threading.Thread(target=send_forever, daemon=True).start()

asyncio.run(main())
print(*stops, flush=True)
os._exit(0)
"""


def test_further_signals_while_a_program_ends_do_nothing() -> None:
    """They arrive all the time while the loop is closed."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (result.stdout.split(), result.stderr, result.returncode) == (["SIGTERM"], "", 0)


def test_children_receive_signals_as_usual() -> None:
    """They do not inherit what the program does at a signal."""
    program = (
        "import asyncio, subprocess, sys\n"
        "from pipecd.stop_signals import call_at_stop_signal\n"
        "async def main():\n"
        "    call_at_stop_signal(print)\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        "    child.terminate()\n"
        "    print(child.wait())\n"
        "asyncio.run(main())\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == [str(-signal.SIGTERM)], result.stderr
