"""Requests of users that an agent answers at once: passes them to its stream, and the answers back.

`rpc.details` opens a request, `rpc.watch` sends it on the agent's stream, and `rpc.agent` receives the parts
of the answer. Each of the three may happen at another replica of the control plane: a request's id begins
with the id of the replica where its user waits, the database says which one has the agent's stream, and
`relay` carries the rest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import structlog

from pipecd.clock import Clock, timeout
from pipecd.controlplane.relay import ACTOR, Relay
from pipecd.controlplane.settings import AgentRequestSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.kinds import REQUEST_REPLICA
from pipecd.errors import Temporary
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AnswerResourceRequestRequest
from pipecd.schema.pipecd.v1.details_pb2 import ResourceRequest
from pipecd.schema.pipecd.v1.replica_pb2 import (
    ClosedRequest,
    ForwardedPart,
    ForwardedRequest,
    ReplicaMessage,
)

log = structlog.get_logger()

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

    def __init__(
        self, project_id: str, piped_id: str, connection: Connection | None = None, replica: str = ""
    ) -> None:
        self.project_id, self.piped_id = project_id, piped_id
        #: The agent's stream, or the replica that has it.
        self.connection, self.replica = connection, replica
        self.parts: asyncio.Queue[AnswerResourceRequestRequest | None] = asyncio.Queue(_MAX_UNREAD)
        self.is_answered = False

    async def next_part(self) -> AnswerResourceRequestRequest:
        """Raises Temporary when the agent has disconnected, or the reader was too slow."""
        part = await self.parts.get()
        if part is None:
            raise Temporary("the piped disconnected")
        self.is_answered = part.done
        return part

    def abort(self) -> None:
        """No further part comes."""
        self.discard_unread()
        self.parts.put_nowait(None)

    def discard_unread(self) -> None:
        while not self.parts.empty():
            self.parts.get_nowait()


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """The messages between replicas, and the store that says which of them has an agent's stream."""

    relay: Relay
    store: Store

    async def record_own(self, piped_id: str) -> None:
        """Store that this replica has the agent's stream."""
        await self.store.put_metadata(REQUEST_REPLICA, piped_id, "", self.relay.id.encode(), by=ACTOR)

    async def find_other(self, piped_id: str) -> str:
        """The other replica that has the agent's stream; empty if none has it."""
        stored = await self.store.get_metadata(REQUEST_REPLICA, piped_id)
        replica = stored[0].decode() if stored else ""
        # The latest one may have been this one, or may have been killed.
        is_other = replica not in ("", self.relay.id) and await self.relay.is_alive(replica)
        return replica if is_other else ""


class AgentRequests:
    def __init__(
        self, clock: Clock, settings: AgentRequestSettings, replicas: Replicas | None = None
    ) -> None:
        """Without `replicas`, there is no other one."""
        self._clock, self._settings, self._replicas = clock, settings, replicas
        self._relay = replicas.relay if replicas else None
        #: Piped id → the stream of the process that has the lease and answers requests.
        self._connections: dict[str, Connection] = {}
        self._open: dict[str, OpenRequest] = {}
        #: Id of a request of another replica's user → that replica, and the stream that it was sent on.
        self._forwarded: dict[str, tuple[str, Connection]] = {}

    async def run(self) -> None:
        """Handle messages of other replicas, until cancelled."""
        if self._relay is not None:
            await self._relay.run(self._handle)

    @asynccontextmanager
    async def connect(self, piped_id: str, wake: Callable[[], None]) -> AsyncGenerator[Connection]:
        """The connection of an agent's stream. `wake` is called when there is something to send."""
        connection = Connection(wake)
        try:
            yield connection
        finally:
            await self.set_available(piped_id, connection, available=False)

    async def set_available(self, piped_id: str, connection: Connection, *, available: bool) -> None:
        """Whether requests are passed to this connection; at first they are not."""
        if available:
            self._connections[piped_id] = connection
            if self._replicas is not None:
                await self._replicas.record_own(piped_id)
            return
        if self._connections.get(piped_id) is connection:
            del self._connections[piped_id]
        for request in list(self._open.values()):
            if request.connection is connection:
                request.abort()
        for id, (replica, used) in list(self._forwarded.items()):
            if used is connection and self._relay is not None:
                del self._forwarded[id]
                self._relay.post(replica, ReplicaMessage(aborted=id))

    async def can_answer(self, piped_id: str) -> bool:
        return piped_id in self._connections or bool(await self._find_replica(piped_id))

    @asynccontextmanager
    async def open(
        self, request: ResourceRequest, *, project_id: str, piped_id: str
    ) -> AsyncGenerator[OpenRequest]:
        """Send a request, whose id is set here. At the end of the block it is cancelled.

        Raises Temporary if the agent cannot answer, or too many requests are open.
        """
        connection = self._connections.get(piped_id)
        replica = "" if connection else await self._find_replica(piped_id)
        if connection is None and not replica:
            raise Temporary("the piped is not connected")
        self._check_limits(project_id, piped_id)
        request.id = f"{self._relay.id if self._relay else ''}.{uuid4().hex}"
        opened = self._open[request.id] = OpenRequest(project_id, piped_id, connection, replica)
        try:
            await self._send(opened, request)
            yield opened
        finally:
            del self._open[request.id]
            # A call of the agent may wait for space.
            opened.discard_unread()
            self._close(opened, request.id)

    async def check_connected(self, opened: OpenRequest) -> None:
        """Raises Temporary if the replica that has the agent's stream was killed, which sends no message."""
        if opened.replica and await self._find_replica(opened.piped_id) != opened.replica:
            raise Temporary("the piped disconnected")

    async def answer(self, piped_id: str, part: AnswerResourceRequestRequest) -> bool:
        """Pass a part of an answer on. Returns whether further parts are wanted."""
        replica, separator, _ = part.id.partition(".")
        if self._relay is not None and separator and replica != self._relay.id:
            forwarded = ForwardedPart(piped_id=piped_id, part=part)
            try:
                return await self._relay.call(replica, ReplicaMessage(part=forwarded))
            except Temporary as error:
                log.info("answer_not_forwarded", error=str(error))
                return False
        return await self._receive(piped_id, part)

    async def _receive(self, piped_id: str, part: AnswerResourceRequestRequest) -> bool:
        opened = self._open.get(part.id)
        # The id is a secret between the control plane and the agent, but another agent must not guess one.
        if opened is None or opened.piped_id != piped_id:
            return False
        try:
            async with timeout(self._clock, self._settings.read_timeout):
                await opened.parts.put(part)
        except TimeoutError:
            opened.abort()
            return False
        return part.id in self._open

    async def _send(self, opened: OpenRequest, request: ResourceRequest) -> None:
        if opened.connection is not None:
            opened.connection.send(AgentChange(kind=AgentChange.RESOURCE_REQUEST, resource_request=request))
            return
        assert self._relay is not None
        forwarded = ForwardedRequest(piped_id=opened.piped_id, request=request)
        if not await self._relay.call(opened.replica, ReplicaMessage(request=forwarded)):
            raise Temporary("the piped is not connected")

    def _close(self, opened: OpenRequest, id: str) -> None:
        if opened.connection is not None:
            if not opened.is_answered:
                opened.connection.send(_cancellation(id))
        elif self._relay is not None:
            closed = ClosedRequest(id=id, answered=opened.is_answered)
            self._relay.post(opened.replica, ReplicaMessage(closed=closed))

    async def _handle(self, message: ReplicaMessage) -> bool:
        """A message of another replica. Returns the reply, if it waits for one."""
        match message.WhichOneof("content"):
            case "request":
                connection = self._connections.get(message.request.piped_id)
                if connection is None:
                    return False
                request = message.request.request
                self._forwarded[request.id] = (message.sender, connection)
                connection.send(AgentChange(kind=AgentChange.RESOURCE_REQUEST, resource_request=request))
                return True
            case "closed":
                _, used = self._forwarded.pop(message.closed.id, ("", None))
                if used is not None and not message.closed.answered:
                    used.send(_cancellation(message.closed.id))
            case "part":
                return await self._receive(message.part.piped_id, message.part.part)
            case "aborted":
                if opened := self._open.get(message.aborted):
                    opened.abort()
        return False

    async def _find_replica(self, piped_id: str) -> str:
        return await self._replicas.find_other(piped_id) if self._replicas else ""

    def _check_limits(self, project_id: str, piped_id: str) -> None:
        of_piped = sum(opened.piped_id == piped_id for opened in self._open.values())
        of_project = sum(opened.project_id == project_id for opened in self._open.values())
        for count, limit, whose in (
            (of_piped, self._settings.max_per_piped, "piped"),
            (of_project, self._settings.max_per_project, "project"),
        ):
            if count >= limit:
                raise Temporary(
                    f"{limit} requests for details and logs of resources are open for this {whose};"
                    " close some of them and try again"
                )


def _cancellation(id: str) -> AgentChange:
    return AgentChange(kind=AgentChange.RESOURCE_REQUEST_CANCELLED, id=id)
