"""Messages from one replica of the control plane to another, through the database and its change feed.

    delivered = await relay.call(replica_id, ReplicaMessage(request=…))    # the other one's reply
    relay.post(replica_id, ReplicaMessage(aborted=id))                    # no reply

A message is a row that its reader deletes. It is read within milliseconds on PostgreSQL. With SQLite there is
one server only, and no message is ever sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import structlog
from google.protobuf.message import DecodeError

from pipecd.clock import Clock, timeout
from pipecd.controlplane.settings import RelaySettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.feed import RESYNC
from pipecd.controlplane.store.kinds import REPLICA_MESSAGE
from pipecd.errors import PipecdError, Temporary
from pipecd.model.actor import Actor, ActorKind
from pipecd.schema.pipecd.v1.replica_pb2 import ReplicaMessage

log = structlog.get_logger()

#: Of messages, which are no changes and leave no row in the audit log.
ACTOR = Actor(kind=ActorKind.JOB, id="relay", name="relay", action="relay")

#: Returns the reply.
Handler = Callable[[ReplicaMessage], Awaitable[bool]]


class Relay:
    def __init__(self, store: Store, clock: Clock, settings: RelaySettings) -> None:
        #: Of this replica.
        self.id = uuid4().hex[:16]
        self._store, self._clock, self._settings = store, clock, settings
        self._replies: dict[str, asyncio.Future[bool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def is_alive(self, replica_id: str) -> bool:
        """Whether the replica runs: it holds a lease, which it renews."""
        return bool(await self._store.leases.holder(_lease_name(replica_id)))

    async def call(self, replica_id: str, message: ReplicaMessage) -> bool:
        """The reply of the replica. Raises Temporary if it does not run, or does not reply in time."""
        if not await self.is_alive(replica_id):
            raise Temporary("the server of the control plane that the piped was connected to is gone")
        message.call_id = uuid4().hex
        reply: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._replies[message.call_id] = reply
        try:
            await self._send(replica_id, message)
            async with timeout(self._clock, self._settings.reply_timeout):
                return await reply
        except TimeoutError:
            raise Temporary("another server of the control plane does not respond") from None
        finally:
            del self._replies[message.call_id]

    def post(self, replica_id: str, message: ReplicaMessage) -> None:
        """Send a message without waiting for anything. It may be lost, as in an outage of the database."""
        self._spawn(self._post(replica_id, message))

    async def run(self, handle: Handler) -> None:
        """Hold the lease of this replica and pass messages to `handle`, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hold_lease(), name="replica lease")
            tasks.create_task(self._receive(handle), name="messages of replicas")

    async def _hold_lease(self) -> None:
        while True:
            try:
                await self._store.leases.acquire(_lease_name(self.id), self.id, self._settings.lease_duration)
            except PipecdError as error:
                log.warning("replica_lease_not_renewed", error=str(error))
            await self._clock.sleep(self._settings.lease_renew_interval)

    async def _receive(self, handle: Handler) -> None:
        with self._store.feed.subscribe() as changes:
            while True:
                change = await changes.get()
                try:
                    if change is RESYNC:
                        for id in await self._store.list_metadata(REPLICA_MESSAGE, self.id):
                            await self._read(id, handle)
                    elif change.kind == REPLICA_MESSAGE.name and change.project_id == self.id:
                        await self._read(change.id, handle)
                except PipecdError as error:
                    log.warning("replica_message_not_read", error=str(error))

    async def _read(self, id: str, handle: Handler) -> None:
        stored = await self._store.get_metadata(REPLICA_MESSAGE, id)
        if stored is None:
            return
        await self._store.delete_metadata(REPLICA_MESSAGE, id)
        try:
            message = ReplicaMessage.FromString(stored[0])
        except DecodeError as error:
            log.warning("replica_message_malformed", error=str(error))
            return
        if message.WhichOneof("content") == "reply":
            reply = self._replies.get(message.call_id)
            if reply is not None and not reply.done():
                reply.set_result(message.reply)
            return
        # A handler may wait, for example for a reader that is slow.
        self._spawn(self._handle(message, handle))

    async def _handle(self, message: ReplicaMessage, handle: Handler) -> None:
        reply = await handle(message)
        if message.call_id:
            await self._post(message.sender, ReplicaMessage(call_id=message.call_id, reply=reply))

    async def _post(self, replica_id: str, message: ReplicaMessage) -> None:
        try:
            await self._send(replica_id, message)
        except PipecdError as error:
            log.warning("replica_message_not_sent", error=str(error))

    async def _send(self, replica_id: str, message: ReplicaMessage) -> None:
        message.sender = self.id
        data = message.SerializeToString()
        await self._store.put_metadata(REPLICA_MESSAGE, uuid4().hex, replica_id, data, by=ACTOR)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _lease_name(replica_id: str) -> str:
    return f"replica/{replica_id}"
