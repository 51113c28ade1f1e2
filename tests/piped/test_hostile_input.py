"""Nothing that a repository or a program's output contains blocks the agent's event loop."""

import sys
from pathlib import Path

import pytest

from pipecd import process
from pipecd.clock import SystemClock
from pipecd.piped.deploy.stage_logs import StageLogs
from pipecd.piped.settings import StageLogSettings
from pipecd.secrets import MASK, Redactor
from tests.loop_latency import LIMIT, loop_latency
from tests.piped.memory import memory_client
from tests.piped.recorder import Recorder, new_recorder

SECRET = "S3cr3t-Value-With/Plus+And=Equals-0123456789-abcdefghijklmnopqrstuvwxyz"

OUTPUTS = {
    "one line of 300 kB without spaces": "'a' * 300_000",
    "one line of half an address after another": "'https://' * 40_000",
    "a hundred thousand empty lines": "'\\n' * 100_000",
    "one line of percent signs": "'%' * 300_000",
    "one line that almost contains a secret": f"{SECRET[:-1]!r} * 5_000",
}


def stage_logs(recorder: Recorder) -> StageLogs:
    clock = SystemClock()
    return StageLogs(memory_client(recorder, clock), Redactor([SECRET]), clock, StageLogSettings())


@pytest.mark.parametrize("output", OUTPUTS)
async def test_output_of_a_program_does_not_block_the_loop(output: str) -> None:
    writer = stage_logs(new_recorder()).open("d", "s")
    async with loop_latency() as latency:
        await process.run([sys.executable, "-c", f"print({OUTPUTS[output]})"], on_line=writer.info)
    assert latency.longest < LIMIT


@pytest.mark.parametrize("before", [*range(65_436, 65_536, 9)])
async def test_a_secret_across_the_border_of_two_pieces_of_a_line_is_masked(
    before: int, tmp_path: Path
) -> None:
    recorder = new_recorder()
    (tmp_path / "output").write_text("x " * (before // 2) + SECRET + " y\n")
    logs = stage_logs(recorder)
    await process.run(["cat", tmp_path / "output"], on_line=logs.open("d", "s").info)
    await logs.flush()
    shown = "".join(recorder.lines()).replace("x ", "")
    assert MASK in shown and len(shown.replace(MASK, "")) < 20, shown
