"""Shows what `make` installs and builds, and how long it takes. Uses the standard library only.

    progress.py show COMMAND…                 runs COMMAND, such as make, and shows its steps
    progress.py step NAME SECONDS COMMAND…    runs COMMAND as a step that usually takes SECONDS

Steps tell `show` when they start and end, through a pipe whose descriptor is in the environment. On a
terminal, each running step has a bar; otherwise, and without `show`, a step is a line at its start and one at
its end.
The output of a step is shown only if it fails.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from typing import Any

PIPE_VARIABLE = "PIPECD_PROGRESS_PIPE"
#: Between two updates of the bars, in seconds.
INTERVAL = 0.1
BAR_WIDTH = 20


def run_step(name: str, seconds: float, command: list[str]) -> int:
    """Run the command. Returns its exit code."""
    pipe = os.environ.get(PIPE_VARIABLE)

    def tell(**event: Any) -> None:
        line = json.dumps({"name": name, **event}) + "\n"
        if pipe:
            os.write(int(pipe), line.encode())
        else:
            show_line(event | {"name": name})

    started = time.monotonic()
    tell(usual=seconds)
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    tell(took=time.monotonic() - started, code=result.returncode)
    if result.returncode:
        sys.stderr.write(result.stdout.decode(errors="replace"))
    return result.returncode


def show_line(event: dict[str, Any]) -> None:
    name, took = event["name"], event.get("took")
    if took is None:
        print(f"{name}…", flush=True)
    else:
        outcome = "failed after" if event.get("code") else "took"
        print(f"{name} {outcome} {took:.1f} s", flush=True)


class Bars:
    """Draws the running steps below the finished ones."""

    def __init__(self) -> None:
        #: When a step started, and how long it usually takes, by name.
        self._running: dict[str, tuple[float, float]] = {}
        self._drawn = 0

    def handle(self, event: dict[str, Any]) -> None:
        name = event["name"]
        if "took" not in event:
            self._running[name] = (time.monotonic(), event["usual"])
        else:
            self._running.pop(name, None)
            self.clear()
            mark = "✗" if event.get("code") else "✓"
            print(f"{mark} {name:<38} {event['took']:5.1f} s")

    def draw(self) -> None:
        self.clear()
        for name, (started, usual) in self._running.items():
            elapsed = time.monotonic() - started
            filled = int(BAR_WIDTH * min(elapsed / usual, 0.95))
            bar = "█" * filled + "░" * (BAR_WIDTH - filled)
            print(f"  {name:<38} {elapsed:5.1f} s {bar} usually {usual:g} s")
        self._drawn = len(self._running)
        sys.stdout.flush()

    def clear(self) -> None:
        if self._drawn:
            print(f"\x1b[{self._drawn}A\x1b[J", end="")
        self._drawn = 0


def show(command: list[str]) -> int:
    """Run the command and show its steps. Returns its exit code."""
    reading, writing = os.pipe()
    environment = {**os.environ, PIPE_VARIABLE: str(writing)}
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    bars = Bars()
    os.set_inheritable(writing, True)
    # The descriptors of make's job server are inherited too.
    process = subprocess.Popen(
        command, env=environment, close_fds=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.close(writing)
    assert process.stdout
    pending, output = b"", b""
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(INTERVAL):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fd == reading:
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if terminal:
                            bars.handle(event)
                        else:
                            show_line(event)
                else:
                    output += chunk
            if terminal:
                bars.draw()
    bars.clear()
    code = process.wait()
    if code:
        sys.stderr.write(output.decode(errors="replace"))
    return code


def main() -> int:
    match sys.argv[1:]:
        case ["show", *command] if command:
            return show(command)
        case ["step", name, seconds, *command] if command:
            return run_step(name, float(seconds), command)
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    sys.exit(main())
