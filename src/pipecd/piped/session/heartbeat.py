"""Tells the control plane that the event loop of this agent runs.

The stream of changes does not: gRPC answers its pings in threads of its own.
"""

from pipecd.client import Client
from pipecd.errors import Unsupported
from pipecd.schema.pipecd.v1.agent_pb2 import BeatRequest

#: Seconds. The control plane shows an agent as not responding after 45 s without a heartbeat.
INTERVAL = 15.0


class Heartbeat:
    def __init__(self, client: Client, instance: str) -> None:
        self._client, self._request = client, BeatRequest(instance=instance)
        self._supported = True

    async def send(self) -> None:
        """Do nothing if the control plane is PipeCD's or an older one."""
        if not self._supported:
            return
        try:
            await self._client.call(self._client.agent.Beat, self._request)
        except Unsupported:
            self._supported = False
