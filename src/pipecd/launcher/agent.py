"""One life of an agent's process: started, watched until it has proved itself, ended in good order."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipecd import __version__
from pipecd.admin_port import asked
from pipecd.errors import Temporary
from pipecd.launcher.fallback import Life
from pipecd.launcher.options import Patience
from pipecd.launcher.versions import Command, environment
from pipecd.process import Finished, run
from pipecd.telemetry import redactor

#: Beyond the agent's own grace period, before it is killed.
MARGIN = 5.0
_PROBE = 0.25


@contextmanager
def held_port() -> Iterator[int]:
    """A free port, which nobody but the agent comes upon while the block runs.

    Linux lets two sockets that ask for it have one address, as long as only one of them listens. On other
    systems somebody may be faster than the agent; then it ends, and the next life has another port.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        yield port


async def live(
    command: Command,
    config_file: Path,
    port: int,
    *,
    forwarded: Sequence[str],
    grace: float,
    patience: Patience,
    steady: Callable[[], Awaitable[None]],
) -> Life:
    """Runs to the process's end, or until cancelled: then the agent has ended too, within `grace`.

    `steady` is called once it has proved itself.
    """
    argv = (
        *command,
        f"--config-file={config_file}",
        f"--launcher-version={__version__}",
        "--admin-host=127.0.0.1",
        f"--admin-port={port}",
        *forwarded,
    )
    proof = Proof()
    process = asyncio.create_task(
        run(argv, on_line=_handed_on, env=environment(), grace=grace + MARGIN), name="agent"
    )
    watching = asyncio.create_task(_watch(port, proof, patience), name="proof")
    try:
        await asyncio.wait({process, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not process.done():
            watching.result()
            if not proof.steady:
                return Life(code=None)
            await steady()
        return Life(code=(await process).code, well=proof.well, steady=proof.steady)
    finally:
        watching.cancel()
        await _ended(process)


@dataclass
class Proof:
    """`well` after the first good answer, `steady` after a while of life with it."""

    well: bool = False
    steady: bool = False


async def _watch(port: int, proof: Proof, patience: Patience) -> None:
    """Returns once the agent is steady, or when it has not answered in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience.start):
            while not await _well(port):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(_PROBE)
        proof.well = True
        await asyncio.sleep(patience.steady)
        proof.steady = True


async def _well(port: int) -> bool:
    try:
        return (await asked(port, "/healthz"))[0] == 200
    except Temporary:
        return False


async def _ended(process: asyncio.Task[Finished]) -> None:
    """The first cancellation asks the process to end, and one that comes meanwhile kills it."""
    while not process.done():
        process.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({process})


def _handed_on(line: str) -> None:
    """The agent keeps secrets out of its lines itself; this is for what it did not write on purpose."""
    print(redactor.text(line), file=sys.stderr, flush=True)
