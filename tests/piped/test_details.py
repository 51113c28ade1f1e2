"""Answers to requests about resources: their limits, redaction and ends. No cloud is needed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipecd.errors import NotFound, Temporary
from pipecd.model.details import DetailsRequest, LogLine, LogRequest, ResourceDetails, ResourceEvent
from pipecd.piped.observe.details import ResourceRequests, _batches
from pipecd.piped.settings import ResourceRequestSettings
from pipecd.platforms import Details
from pipecd.schema.pipecd.v1.agent_pb2 import AnswerResourceRequestRequest, AnswerResourceRequestResponse
from pipecd.schema.pipecd.v1.details_pb2 import LogOptions, ResourceRequest
from tests.model.samples import deployment
from tests.platforms.altered import alter_platform
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock

SECRET = "hunter2-hunter2"
Failure = AnswerResourceRequestRequest.Failure


class Observations:
    @asynccontextmanager
    async def build(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        async def request() -> Any:
            return None

        yield SimpleNamespace(request=request, commit="c" * 40)


@dataclass
class Agent:
    """Collects the parts of answers. Of the requests in `left`, no more is wanted."""

    clock: VirtualClock
    parts: "asyncio.Queue[AnswerResourceRequestRequest]" = field(default_factory=asyncio.Queue)
    left: set[str] = field(default_factory=set)
    agent: Any = field(default_factory=lambda: SimpleNamespace(AnswerResourceRequest=None))

    async def call(
        self, _: Any, part: AnswerResourceRequestRequest, **__: Any
    ) -> AnswerResourceRequestResponse:
        self.parts.put_nowait(part)
        return AnswerResourceRequestResponse(cancelled=part.id in self.left)


async def send_test(name: str) -> None:
    if name != "chat":
        raise NotFound(f"the agent has no receiver {name!r}")


@asynccontextmanager
async def answering(
    monkeypatch: pytest.MonkeyPatch, details: Details | None, **settings: Any
) -> AsyncIterator[tuple[ResourceRequests, Agent]]:
    alter_platform(monkeypatch, "TERRAFORM", details=details)
    clock = VirtualClock()
    agent = Agent(clock)
    app = replace(application(deployment()), id="app", kind="TERRAFORM")
    view = SimpleNamespace(applications={"app": app})
    requests = ResourceRequests(
        cast(Any, view),
        cast(Any, agent),
        cast(Any, Observations()),
        lambda text: text.replace(SECRET, "***"),
        clock,
        ResourceRequestSettings(**settings),
        send_test,
    )
    task = asyncio.create_task(requests.run())
    try:
        yield requests, agent
    finally:
        task.cancel()
        await asyncio.wait([task])


def loading(load: Callable[[DetailsRequest], ResourceDetails]) -> Details:
    async def load_details(request: DetailsRequest) -> ResourceDetails:
        return load(request)

    return Details(load=load_details)


def request(id: str = "1", **fields: Any) -> ResourceRequest:
    return ResourceRequest(id=id, application_id="app", resource_id="uid", **fields)


async def test_details_are_redacted_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    details = ResourceDetails(
        live=f"password: {SECRET}\n" + "x" * 600_000,
        git=SECRET,
        difference=SECRET,
        events=[ResourceEvent(reason=SECRET, message="m" * 9000, count=2**40)] * 300,
        notes=[SECRET] * 300,
    )
    async with answering(monkeypatch, loading(lambda _: details)) as (requests, agent):
        requests.begin(request())
        answer = await agent.parts.get()
    assert answer.done and not answer.failure
    assert SECRET not in str(answer)
    assert answer.ByteSize() < 4 * 1024 * 1024
    assert "more characters are not shown" in answer.details.live[-100:]
    assert (len(answer.details.events), len(answer.details.notes)) == (100, 20)
    assert answer.details.commit == "c" * 40


async def test_every_failure_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {
        Failure.NOT_FOUND: NotFound(f"gone: {SECRET}"),
        Failure.TEMPORARY: Temporary("away"),
        Failure.REFUSED: ValueError(f"a fault of ours: {SECRET}"),
    }
    for failure, error in errors.items():

        def fail(_: DetailsRequest, error: Exception = error) -> ResourceDetails:
            raise error

        async with answering(monkeypatch, loading(fail)) as (requests, agent):
            requests.begin(request())
            answer = await agent.parts.get()
            assert (answer.failure, answer.done, SECRET in answer.error) == (failure, True, False)
    async with answering(monkeypatch, None) as (requests, agent):
        requests.begin(request())
        answer = await agent.parts.get()
        assert answer.failure == Failure.UNSUPPORTED
        assert answer.error == "applications of kind TERRAFORM offer no details of resources"
        requests.begin(ResourceRequest(id="2", application_id="unknown"))
        assert (await agent.parts.get()).failure == Failure.NOT_FOUND


async def test_a_platform_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: DetailsRequest) -> ResourceDetails:
        await asyncio.Event().wait()
        raise AssertionError

    async with answering(monkeypatch, Details(load=hang), timeout=12.0, max_requests=2) as (requests, agent):
        for number in range(3):
            requests.begin(request(str(number)))
        refused = await agent.parts.get()
        assert (refused.id, refused.failure) == ("2", Failure.TEMPORARY)
        await agent.clock.advance(13)
        answers = [await agent.parts.get() for _ in range(2)]
        assert {answer.failure for answer in answers} == {Failure.TEMPORARY}
        assert answers[0].error == "the request took too long; try again"


@dataclass
class Log:
    """A container's log that a test writes."""

    lines: "asyncio.Queue[Sequence[LogLine] | None]" = field(default_factory=asyncio.Queue)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[LogRequest] = field(default_factory=list)

    async def follow(self, request: LogRequest) -> AsyncGenerator[Sequence[LogLine]]:
        self.requests.append(request)
        try:
            yield ()
            while (lines := await self.lines.get()) is not None:
                yield lines
        finally:
            self.closed.set()

    def write(self, *texts: str) -> None:
        self.lines.put_nowait([LogLine(text=text, time="t") for text in texts])


async def test_a_log_is_followed_until_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for end in ("cancelled", "disconnected", "answered", "ended"):
        log = Log()
        details = Details(load=cast(Any, None), follow_log=log.follow)
        async with answering(monkeypatch, details) as (requests, agent):
            requests.begin(request(log=LogOptions(container="web", since="s")))
            assert not (await agent.parts.get()).lines, "the log was opened, and has no lines yet"
            log.write("one", f"two {SECRET}")
            assert [line.text for line in (await agent.parts.get()).lines] == ["one", "two ***"]
            log.write("three")
            log.write("four")
            await agent.clock.advance(0.3)
            assert [line.text for line in (await agent.parts.get()).lines] == ["three", "four"]
            match end:
                case "cancelled":
                    requests.cancel("other")
                    requests.cancel("1")
                case "disconnected":
                    requests.cancel("")
                case "answered":
                    agent.left.add("1")
                    log.write("four")
                    await agent.clock.advance(0.3)
                case "ended":
                    log.write("four")
                    log.lines.put_nowait(None)
                    assert [line.text for line in (await agent.parts.get()).lines] == ["four"]
                    assert (await agent.parts.get()).done
            async with asyncio.timeout(60):
                await log.closed.wait()
        assert (log.requests[0].container, log.requests[0].since, log.requests[0].tail_lines) == (
            "web",
            "s",
            500,
        )


async def test_many_lines_are_sent_in_parts_of_limited_size() -> None:
    async def flood() -> AsyncGenerator[Sequence[LogLine]]:
        for _ in range(50):
            yield [LogLine(text="x" * 1000)] * 100
        raise Temporary("away")

    settings = ResourceRequestSettings(max_batch_size=64 * 1024)
    sizes = []
    with pytest.raises(Temporary):
        async with aclosing(cast(Any, _batches(flood(), VirtualClock(), settings))) as batches:
            async for batch in batches:
                sizes.append(sum(len(line.text) for line in batch))
    assert sum(sizes) == 50 * 100 * 1000
    assert max(sizes) <= 64 * 1024 + 1040
