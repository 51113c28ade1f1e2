"""Answers users' requests about one resource: its details, or the log of a container. Also test messages.

`session.watch` passes the requests on. Each is answered by a task of its own, which ends when the control
plane cancels the request, or the stream breaks off: then the user asks again. Platforms read; the limits of
time, number and size, and the redaction, are here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import structlog

from pipecd.client import Client
from pipecd.clock import Clock, timeout
from pipecd.errors import NotFound, PipecdError, Temporary, Unsupported
from pipecd.model.application import Application
from pipecd.model.details import DetailsRequest, LogLine, LogRequest, ResourceDetails
from pipecd.model.drift import Redact
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.piped.observe.desired_state import Observation, ObservationRequests
from pipecd.piped.session.view import View
from pipecd.piped.settings import ResourceRequestSettings
from pipecd.platforms import Details
from pipecd.platforms.registry import load_platform
from pipecd.schema.pipecd.v1 import details_pb2
from pipecd.schema.pipecd.v1.agent_pb2 import AnswerResourceRequestRequest
from pipecd.schema.pipecd.v1.details_pb2 import ResourceRequest

log = structlog.get_logger()

#: Maximum age of the cached branch head (seconds): the user sees what is declared now.
MAX_HEAD_AGE = 10.0
#: Limits of what is sent, in characters, or the number of items: the schema's.
MAX_MANIFEST, MAX_TEXT, MAX_LINE = 500_000, 2000, 16_000
MAX_EVENTS, MAX_CONTAINERS, MAX_NOTES, MAX_LINES = 100, 100, 20, 1000
#: The default number of lines that come first.
_TAIL_LINES = 500
Failure = AnswerResourceRequestRequest.Failure


class ResourceRequests:
    def __init__(
        self,
        view: View,
        client: Client,
        observation_requests: ObservationRequests,
        redact: Redact,
        clock: Clock,
        settings: ResourceRequestSettings,
        test_receiver: Callable[[str], Awaitable[None]],
    ) -> None:
        """`test_receiver` sends a test message to a receiver of notifications, and raises what fails."""
        self._test_receiver = test_receiver
        self._view, self._client, self._clock, self._settings = view, client, clock, settings
        self._observation_requests, self._redact = observation_requests, redact
        #: Twice the limit, so that requests beyond it are refused instead of forgotten.
        self._waiting: asyncio.Queue[ResourceRequest] = asyncio.Queue(2 * settings.max_requests)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, request: ResourceRequest) -> None:
        if self._waiting.full():
            log.warning("resource_request_dropped", limit=self._waiting.maxsize)
        else:
            self._waiting.put_nowait(request)

    def cancel(self, request_id: str) -> None:
        """Empty: cancel all."""
        if not request_id:
            while not self._waiting.empty():
                self._waiting.get_nowait()
        for id, task in list(self._tasks.items()):
            if request_id in ("", id):
                task.cancel()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                request = await self._waiting.get()
                is_busy = len(self._tasks) >= self._settings.max_requests
                task = tasks.create_task(self._answer(request, is_busy=is_busy), name="resource request")
                self._tasks[request.id] = task
                task.add_done_callback(partial(self._forget, request.id))

    def _forget(self, request_id: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(request_id, None)

    async def _answer(self, request: ResourceRequest, *, is_busy: bool) -> None:
        try:
            if is_busy:
                raise Temporary("the agent answers many other requests; try again")
            if request.receiver:
                await self._test_receiver(request.receiver)
                await self._send(AnswerResourceRequestRequest(id=request.id, done=True))
            elif request.HasField("log"):
                await self._send_log(request)
            else:
                await self._send_details(request)
        except (PipecdError, TimeoutError) as error:
            await self._send_failure(request, error)
        except Exception:
            INTERNAL_ERRORS.labels(loop="resource requests").inc()
            log.exception("resource_request_failed", application=request.application_id)
            await self._send_failure(request, PipecdError("internal error; see the agent's log"))

    async def _send_details(self, request: ResourceRequest) -> None:
        async with timeout(self._clock, self._settings.timeout), self._observing(request) as observing:
            details = await observing.details.load(
                DetailsRequest(
                    observation=await observing.observation.request(), resource_id=request.resource_id
                )
            )
            # Redaction takes time that grows with the size of the manifests.
            message = await asyncio.to_thread(
                _details_to, details, observing.observation.commit, self._redact
            )
        await self._send(AnswerResourceRequestRequest(id=request.id, details=message, done=True))

    async def _send_log(self, request: ResourceRequest) -> None:
        async with timeout(self._clock, self._settings.max_log_duration):
            async with self._observing(request) as observing:
                if observing.details.follow_log is None:
                    raise Unsupported(f"applications of kind {observing.application.kind} offer no logs")
                lines = observing.details.follow_log(
                    LogRequest(
                        observation=await observing.observation.request(),
                        resource_id=request.resource_id,
                        container=request.log.container,
                        tail_lines=request.log.tail_lines or _TAIL_LINES,
                        since=request.log.since,
                        previous=request.log.previous,
                    )
                )
            # The checkout, if there is one, is not needed any more.
            async for batch in _batches(lines, self._clock, self._settings):
                part = AnswerResourceRequestRequest(id=request.id, lines=_lines_to(batch, self._redact))
                if await self._send(part):
                    return
        await self._send(AnswerResourceRequestRequest(id=request.id, done=True))

    @asynccontextmanager
    async def _observing(self, request: ResourceRequest) -> AsyncIterator["_Observing"]:
        """Raises NotFound or Unsupported."""
        application = self._view.applications.get(request.application_id)
        if application is None:
            raise NotFound("the agent does not know the application; it may be disabled")
        details = load_platform(application.kind).details
        if details is None:
            raise Unsupported(f"applications of kind {application.kind} offer no details of resources")
        async with self._observation_requests.build(application, max_head_age=MAX_HEAD_AGE) as observation:
            if observation is None:
                raise NotFound("the application's file in Git is missing or invalid, or declares nothing")
            yield _Observing(application=application, details=details, observation=observation)

    async def _send_failure(self, request: ResourceRequest, error: Exception) -> None:
        text = self._redact(str(error)) or "the request took too long; try again"
        failure = (
            Failure.NOT_FOUND
            if isinstance(error, NotFound)
            else Failure.UNSUPPORTED
            if isinstance(error, Unsupported)
            else Failure.TEMPORARY
            if isinstance(error, Temporary | TimeoutError)
            else Failure.REFUSED
        )
        part = AnswerResourceRequestRequest(id=request.id, failure=failure, error=text[:MAX_TEXT], done=True)
        with suppress(PipecdError):
            await self._send(part)

    async def _send(self, part: AnswerResourceRequestRequest) -> bool:
        """Returns whether further parts are not needed."""
        response = await self._client.call(self._client.agent.AnswerResourceRequest, part)
        return response.cancelled


@dataclass(frozen=True, kw_only=True)
class _Observing:
    application: Application
    details: Details
    observation: Observation


async def _batches(
    lines: AsyncIterator[Sequence[LogLine]], clock: Clock, settings: ResourceRequestSettings
) -> AsyncIterator[Sequence[LogLine]]:
    """Lines that came within a short time, as one list. The first lines come at once.

    An empty list comes first if the log has no lines when it is opened.
    """
    async with aclosing(cast(Any, lines)) as source:
        pending: asyncio.Task[Sequence[LogLine]] | None = None
        is_open = has_lines = False
        try:
            while True:
                collected: list[LogLine] = []
                ended = False
                pending = pending or asyncio.ensure_future(anext(source))
                try:
                    collected += await asyncio.shield(pending)
                    pending = None
                    if has_lines:
                        async with timeout(clock, settings.batch_delay):
                            while _size(collected) < settings.max_batch_size:
                                pending = pending or asyncio.ensure_future(anext(source))
                                collected += await asyncio.shield(pending)
                                pending = None
                except StopAsyncIteration:
                    pending, ended = None, True
                except TimeoutError:
                    pass
                for part in _split(collected, settings.max_batch_size):
                    yield part
                if not is_open and not collected:
                    yield ()
                is_open, has_lines = True, has_lines or bool(collected)
                if ended:
                    return
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.wait([pending])


def _size(lines: Sequence[LogLine]) -> int:
    return sum(len(line.text) + 40 for line in lines)


def _split(lines: Sequence[LogLine], max_size: int) -> Sequence[Sequence[LogLine]]:
    """Lists of limited size and number of lines."""
    parts: list[list[LogLine]] = []
    size = 0
    for line in lines:
        if not parts or size > max_size or len(parts[-1]) == MAX_LINES:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += len(line.text[:MAX_LINE]) + 40
    return parts


def _lines_to(lines: Sequence[LogLine], redact: Redact) -> Sequence[details_pb2.LogLine]:
    """A secret may be spread over several lines, which are therefore redacted together."""
    texts = redact("\n".join(line.text.replace("\n", " ")[:MAX_LINE] for line in lines)).split("\n")
    if len(texts) != len(lines):
        texts = [redact(line.text[:MAX_LINE]) for line in lines]
    return [
        details_pb2.LogLine(time=line.time[:64], text=text[: MAX_LINE + 100])
        for line, text in zip(lines, texts, strict=True)
    ]


def _details_to(details: ResourceDetails, commit: str, redact: Redact) -> details_pb2.ResourceDetails:
    def manifest(text: str) -> str:
        if len(text) > MAX_MANIFEST:
            text = f"{text[:MAX_MANIFEST]}\n# … {len(text) - MAX_MANIFEST} more characters are not shown"
        return redact(text)

    def short(text: str) -> str:
        return redact(text[:MAX_TEXT])

    return details_pb2.ResourceDetails(
        live=manifest(details.live),
        git=manifest(details.git),
        commit=commit,
        difference=manifest(details.difference),
        events=[
            details_pb2.ResourceEvent(
                warning=event.warning,
                reason=short(event.reason),
                message=short(event.message),
                source=short(event.source),
                count=max(0, min(event.count, 2**31 - 1)),
                first_at=event.first_at,
                last_at=event.last_at,
            )
            for event in details.events[:MAX_EVENTS]
        ],
        containers=[
            details_pb2.Container(
                name=container.name[:253],
                state=short(container.state),
                init=container.init,
                restarts=max(0, min(container.restarts, 2**31 - 1)),
            )
            for container in details.containers[:MAX_CONTAINERS]
        ],
        notes=[short(note) for note in details.notes[:MAX_NOTES]],
    )
