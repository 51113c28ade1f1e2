"""A plan preview ends at its deadline, in virtual time, and its requester always gets a result."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pipecd.config.piped import PlanPreview
from pipecd.errors import Temporary
from pipecd.model.command import BuildPlanPreview
from pipecd.piped.preview import PlanPreviewLoop, PreviewServices
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.view import View
from pipecd.piped.source.repository import Repository
from pipecd.schema.model.command_pb2 import CommandStatus
from pipecd.secrets import Redactor
from tests.piped.memory import Calls, memory_client
from tests.virtual_clock import VirtualClock

REPOSITORY = Repository(id="r", remote="https://git.example/shop", branch="main")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class Mirrors:
    """Every operation is `behave`."""

    def __init__(self, behave: Callable[..., Any]) -> None:
        self._behave = behave

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self._behave


@asynccontextmanager
async def previewing(
    clock: VirtualClock, behave: Callable[..., Any], *, seconds: int = 0
) -> AsyncIterator[Calls]:
    """Runs the loop with one command whose timeout is `seconds` (0: the default)."""
    calls, leadership = Calls(), Leadership()
    leadership.set_lease(Lease.GRANTED)
    client = memory_client(calls, clock)
    view = View(client, clock)
    for event in view._loaded.values():
        event.set()
    view.commands = {
        "c": BuildPlanPreview(
            id="c",
            commander="ada",
            repository_id="r",
            head_branch="feature",
            head_commit="c" * 40,
            base_branch="main",
            timeout=seconds,
        )
    }
    sources: Any = SimpleNamespace(repository=lambda _: REPOSITORY, mirrors=Mirrors(behave))
    providers: Any = SimpleNamespace()
    services = PreviewServices(
        view=view,
        leadership=leadership,
        reporter=Reporter(client, Redactor(), clock),
        sources=sources,
        providers=providers,
        analysis=providers,
        redact=lambda text: text,
        clock=clock,
    )
    task = asyncio.create_task(PlanPreviewLoop(services, PlanPreview()).run())
    try:
        yield calls
    finally:
        task.cancel()


async def hang(*_: Any, **__: Any) -> None:
    await asyncio.Event().wait()


async def fail(*_: Any, **__: Any) -> None:
    raise Temporary("Git is away")


@pytest.mark.parametrize(("seconds", "deadline"), [(0, 300), (40, 40)])
async def test_a_preview_that_hangs_ends_at_its_deadline(
    clock: VirtualClock, seconds: int, deadline: int
) -> None:
    async with previewing(clock, hang, seconds=seconds) as calls:
        await clock.advance(deadline - 1)
        assert not calls.requests("ReportCommandHandled")
        await clock.advance(2)
        (report,) = calls.requests("ReportCommandHandled")
        await clock.advance(3600)
        assert len(calls.requests("ReportCommandHandled")) == 1
    assert report.status == CommandStatus.COMMAND_FAILED
    assert report.metadata["reason"] == f"the plan preview timed out after {deadline} s"
    assert report.handled_at == int(VirtualClock().now()) + deadline


async def test_an_outage_of_git_is_reported_after_a_few_attempts(clock: VirtualClock) -> None:
    async with previewing(clock, fail) as calls:
        await clock.advance(60)
        (report,) = calls.requests("ReportCommandHandled")
    assert report.metadata["reason"] == "Git is away"
