"""One run of the agent process: starts it, monitors its health until it is stable, and stops it."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipecd import __version__
from pipecd.admin_port import http_get
from pipecd.clock import Clock, timeout
from pipecd.errors import Temporary
from pipecd.launcher.fallback import AgentRun
from pipecd.launcher.options import Timeouts
from pipecd.launcher.versions import Command, agent_environment
from pipecd.process import OnLine, ProcessExit, run
from pipecd.secrets import RedactedStream
from pipecd.telemetry import redactor


@contextmanager
def reserve_port() -> Iterator[int]:
    """Reserve a free local port for the agent while the block runs.

    Linux lets two sockets with SO_REUSEADDR bind the same address as long as only one of them listens. On
    other systems another process may take the port first; then the agent exits, and its next run gets
    another port.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        yield port


async def run_agent(
    command: Command,
    config_file: Path,
    port: int,
    *,
    forwarded: Sequence[str],
    grace: float,
    timeouts: Timeouts,
    clock: Clock,
    on_stable: Callable[[], Awaitable[None]],
) -> AgentRun:
    """Run the agent until its process ends. When cancelled, stop it within `grace` seconds first.

    Stops an agent that does not become healthy in time. `on_stable` is called once the agent is stable.
    """
    argv = (
        *command,
        f"--config-file={config_file}",
        f"--launcher-version={__version__}",
        "--admin-host=127.0.0.1",
        f"--admin-port={port}",
        *forwarded,
    )
    status = HealthStatus()
    process = asyncio.create_task(
        run(
            argv,
            on_line=_forward(redactor.stream()),
            env=agent_environment(),
            grace=grace + timeouts.kill_margin,
        ),
        name="agent",
    )
    monitor = asyncio.create_task(_monitor(port, status, timeouts, clock), name="monitor")
    try:
        await asyncio.wait({process, monitor}, return_when=asyncio.FIRST_COMPLETED)
        if not process.done():
            monitor.result()
            if not status.stable:
                return AgentRun(exit_code=None)
            await on_stable()
        return AgentRun(exit_code=(await process).code, healthy=status.healthy, stable=status.stable)
    finally:
        monitor.cancel()
        await _stop(process)


@dataclass
class HealthStatus:
    """`healthy` after the first successful health check; `stable` once it kept running long enough."""

    healthy: bool = False
    stable: bool = False


async def _monitor(port: int, status: HealthStatus, timeouts: Timeouts, clock: Clock) -> None:
    """Return once the agent is stable, or when it did not become healthy in time."""
    with suppress(TimeoutError):
        async with timeout(clock, timeouts.startup):
            while not await _is_healthy(port):
                await clock.sleep(timeouts.probe_interval)
        status.healthy = True
        await clock.sleep(timeouts.stable)
        status.stable = True


async def _is_healthy(port: int) -> bool:
    try:
        return (await http_get(port, "/healthz"))[0] == 200
    except Temporary:
        return False


async def _stop(process: asyncio.Task[ProcessExit]) -> None:
    """Cancel the process task and wait for it. The first cancellation stops the process, another kills it."""
    while not process.done():
        process.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({process})


def _forward(output: RedactedStream) -> OnLine:
    """Forward the agent's output to stderr. The agent redacts its logs; this also covers any other output."""

    def forward_line(line: str) -> None:
        print(output.line(line), file=sys.stderr, flush=True)

    return forward_line
