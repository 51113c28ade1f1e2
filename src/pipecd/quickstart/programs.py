"""Runs the programs of the quickstart, with their output in log files.

A program that was killed or stopped from outside is started again, as a service manager
would. One that ends with an error ends the quickstart, with its last lines.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from pipecd import process
from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.errors import ConfigError

#: Prints one line to the terminal.
Print = Callable[[str], None]
#: More restarts of one program within WINDOW seconds end the quickstart.
MAX_RESTARTS, WINDOW = 3, 60.0
#: Until a program that is asked to stop is killed, in seconds.
GRACE_PERIOD = 20.0


@dataclass(frozen=True, kw_only=True)
class Program:
    #: For messages, such as `agent`.
    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Whether it continues with its state when it is started again.
    keeps_state: bool = True


async def run_program(program: Program, print_line: Print, clock: Clock = SYSTEM_CLOCK) -> NoReturn:
    """Run the program until cancelled. Raises ConfigError if it fails, or is killed again and again."""
    restarts: list[float] = []
    while True:
        code, last_lines = await _run_once(program)
        if code > 0:
            raise _failure(program, code, last_lines)
        how = f"was killed (signal {-code})" if code else "was stopped"
        if not program.keeps_state:
            raise ConfigError(
                f"the {program.name} {how}, and its state was in memory",
                remedy="start the quickstart again, which deploys the applications again",
            )
        now = clock.monotonic()
        restarts = [*(time for time in restarts if now - time < WINDOW), now]
        if len(restarts) > MAX_RESTARTS:
            raise ConfigError(
                f"the {program.name} {how} {len(restarts)} times within {WINDOW:.0f} s",
                remedy=f"find out what ends it, such as a lack of memory; its log is {program.log}",
            )
        print_line(f"The {program.name} {how}; starting it again")


async def _run_once(program: Program) -> tuple[int, Sequence[str]]:
    """The exit code, negative for a signal, and the last lines of the output."""
    last_lines: list[str] = []
    with program.log.open("a") as log:

        def on_line(text: str) -> None:
            last_lines[:] = [*last_lines[-4:], text]
            log.write(f"{text}\n")
            log.flush()

        result = await process.run(
            program.command, on_line=on_line, grace=GRACE_PERIOD, env={**os.environ, **program.environment}
        )
    return result.code, last_lines


def _failure(program: Program, code: int, last_lines: Sequence[str]) -> ConfigError:
    output = "\n  ".join(last_lines)
    return ConfigError(
        f"the {program.name} exited with code {code}:\n  {output}",
        remedy=f"see {program.log}; if the state directory is broken, remove it with"
        " `make quickstart-clean` (or `pipecd quickstart --clean`)",
    )
