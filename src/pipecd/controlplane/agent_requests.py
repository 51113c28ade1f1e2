"""Requests of users that an agent answers at once: passes them to its stream, and the answers back.

`rpc.details` opens a request, `rpc.watch` sends it on the agent's stream, and `rpc.agent` receives the parts
of the answer. Everything is in the memory of this process, so the agent's stream and its answers have to
reach the replica that the user's call reached. A control plane with several replicas needs another
implementation of the public methods of `AgentRequests`, and nothing else.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from pipecd.clock import Clock, timeout
from pipecd.controlplane.settings import AgentRequestSettings
from pipecd.errors import Temporary
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AnswerResourceRequestRequest
from pipecd.schema.pipecd.v1.details_pb2 import ResourceRequest

#: Parts of one answer that its reader has not read. The agent sends no more until some are read.
_MAX_UNREAD = 4


class Connection:
    """The stream of an agent process."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._outgoing: deque[AgentChange] = deque()

    def send(self, message: AgentChange) -> None:
        self._outgoing.append(message)
        self._wake()

    def take(self) -> Iterator[AgentChange]:
        """What is to be sent to the agent now."""
        while self._outgoing:
            yield self._outgoing.popleft()


class OpenRequest:
    """A request whose answer a user waits for."""

    def __init__(self, project_id: str, piped_id: str, connection: Connection) -> None:
        self.project_id, self.piped_id, self.connection = project_id, piped_id, connection
        self.parts: asyncio.Queue[AnswerResourceRequestRequest | None] = asyncio.Queue(_MAX_UNREAD)
        self.is_answered = False

    async def next_part(self) -> AnswerResourceRequestRequest:
        """Raises Temporary when the agent has disconnected, or the reader was too slow."""
        part = await self.parts.get()
        if part is None:
            raise Temporary("the agent disconnected")
        self.is_answered = part.done
        return part

    def abort(self) -> None:
        """No further part comes."""
        self.discard_unread()
        self.parts.put_nowait(None)

    def discard_unread(self) -> None:
        while not self.parts.empty():
            self.parts.get_nowait()


class AgentRequests:
    def __init__(self, clock: Clock, settings: AgentRequestSettings) -> None:
        self._clock, self._settings = clock, settings
        #: Piped id → the stream of the process that has the lease and answers requests.
        self._connections: dict[str, Connection] = {}
        self._open: dict[str, OpenRequest] = {}

    @contextmanager
    def connect(self, piped_id: str, wake: Callable[[], None]) -> Iterator[Connection]:
        """The connection of an agent's stream. `wake` is called when there is something to send."""
        connection = Connection(wake)
        try:
            yield connection
        finally:
            self.set_available(piped_id, connection, available=False)

    def set_available(self, piped_id: str, connection: Connection, *, available: bool) -> None:
        """Whether requests are passed to this connection; at first they are not."""
        if available:
            self._connections[piped_id] = connection
            return
        if self._connections.get(piped_id) is connection:
            del self._connections[piped_id]
        for request in list(self._open.values()):
            if request.connection is connection:
                request.abort()

    def can_answer(self, piped_id: str) -> bool:
        return piped_id in self._connections

    @contextmanager
    def open(self, request: ResourceRequest, *, project_id: str, piped_id: str) -> Iterator[OpenRequest]:
        """Send a request, whose id is set here. At the end of the block it is cancelled.

        Raises Temporary if the agent cannot answer, or too many requests are open.
        """
        connection = self._connections.get(piped_id)
        if connection is None:
            raise Temporary("the agent is not connected")
        self._check_limits(project_id, piped_id)
        request.id = str(uuid4())
        opened = self._open[request.id] = OpenRequest(project_id, piped_id, connection)
        connection.send(AgentChange(kind=AgentChange.RESOURCE_REQUEST, resource_request=request))
        try:
            yield opened
        finally:
            del self._open[request.id]
            # A call of the agent may wait for space.
            opened.discard_unread()
            if not opened.is_answered:
                connection.send(AgentChange(kind=AgentChange.RESOURCE_REQUEST_CANCELLED, id=request.id))

    async def answer(self, piped_id: str, part: AnswerResourceRequestRequest) -> bool:
        """Pass a part of an answer on. Returns whether further parts are wanted."""
        opened = self._open.get(part.id)
        # The id is a secret between this process and the agent, but another agent must not guess one.
        if opened is None or opened.piped_id != piped_id:
            return False
        try:
            async with timeout(self._clock, self._settings.read_timeout):
                await opened.parts.put(part)
        except TimeoutError:
            opened.abort()
            return False
        return part.id in self._open

    def _check_limits(self, project_id: str, piped_id: str) -> None:
        of_piped = sum(opened.piped_id == piped_id for opened in self._open.values())
        of_project = sum(opened.project_id == project_id for opened in self._open.values())
        for count, limit, whose in (
            (of_piped, self._settings.max_per_piped, "agent"),
            (of_project, self._settings.max_per_project, "project"),
        ):
            if count >= limit:
                raise Temporary(
                    f"{limit} requests for details and logs of resources are open for this {whose};"
                    " close some of them and try again"
                )
