"""What `make quickstart` shows while it installs: each step and how long it takes, and why one failed."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PROGRESS = Path(__file__).parents[1] / "tools" / "progress.py"
# -S: the standard library is enough.
PYTHON = [sys.executable, "-S", "-P", str(PROGRESS)]
STEP = f"{sys.executable} -S -P {PROGRESS} step"


def test_steps_are_lines_when_output_is_not_a_terminal() -> None:
    script = f"{STEP} 'Installing PipeCD' 5 true && {STEP} 'Building the console' 6 true"
    shown = subprocess.run([*PYTHON, "show", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    lines = shown.stdout.splitlines()
    assert shown.returncode == 0 and len(lines) == 4, shown
    assert lines[0] == "Installing PipeCD…" and lines[2] == "Building the console…"
    assert lines[1].startswith("Installing PipeCD took ") and lines[1].endswith(" s")


def test_a_failed_step_is_named_and_its_output_shown() -> None:
    script = f"{STEP} 'Installing PipeCD' 5 sh -c 'echo no network; exit 3' || exit 2"
    shown = subprocess.run([*PYTHON, "show", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    assert shown.returncode == 2
    assert "Installing PipeCD failed after" in shown.stdout
    assert "no network" in shown.stderr


def test_running_steps_have_bars_on_a_terminal() -> None:
    script = f"{STEP} 'Installing PipeCD' 1 sleep 0.3 & {STEP} 'Building the console' 6 sleep 0.3; wait"
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(
        [*PYTHON, "show", "sh", "-c", script], stdout=slave, env=environment, check=True, timeout=120
    )
    os.close(slave)
    shown = bytearray()
    # Reading past the end raises OSError, since the slave side is closed.
    with suppress(OSError):
        while chunk := os.read(master, 100_000):
            shown += chunk
    os.close(master)
    text = shown.decode()
    assert "█" in text and "usually 6 s" in text
    assert "✓ Installing PipeCD" in text and "✓ Building the console" in text
    assert text.rstrip().endswith(" s"), "no bar is left"
