"""Limits the connections of gRPC of one address, so that one client cannot take all of them.

The library owns the sockets, and limits only how many there are. So this checks regularly the sockets of
the process that belong to the ports of gRPC, and shuts down those that one address has beyond its limit; the
library notices it as a connection that its client has closed. The oldest connections stay.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Counter as Metric

from pipecd.clock import Clock
from pipecd.controlplane.auth.client_address import client_network
from pipecd.controlplane.faults import contained
from pipecd.controlplane.http.connections import CROWDED, Reports
from pipecd.controlplane.settings import ConnectionSettings

CLOSED = Metric(
    "pipecd_grpc_connections_closed_total", "Connections of gRPC closed because of a limit.", ["reason"]
)


@dataclass(frozen=True)
class Peer:
    """The other end of a connection."""

    address: str
    port: int


class ConnectionLimit:
    """`shared` tells addresses that stand for many clients: proxies."""

    def __init__(
        self,
        ports: Sequence[int],
        settings: ConnectionSettings,
        shared: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._ports, self._settings, self._shared, self._clock = frozenset(ports), settings, shared, clock
        #: In the order in which they were noticed.
        self._known: dict[Peer, None] = {}
        self._report = Reports(CLOSED).add

    async def run(self) -> None:
        """Runs until cancelled. While an address exceeds its limit, it checks more often."""
        settings = self._settings
        while True:
            closed: Sequence[Peer] = ()
            # Such as when the process has no descriptor left.
            with contained("limit-connections"):
                closed = await asyncio.to_thread(self._check)
            if closed:
                self._report(CROWDED, closed[-1].address, len(closed))
            await self._clock.sleep(
                settings.grpc_crowded_check_interval if closed else settings.grpc_check_interval
            )

    def _check(self) -> Sequence[Peer]:
        """Shut down what exceeds the limit. Returns the other ends."""
        descriptors = sorted(int(entry.name) for entry in Path("/dev/fd").iterdir())
        if len(descriptors) <= self._settings.max_per_address:
            # No address can have more, whatever the descriptors are.
            self._known.clear()
            return []
        connected = dict(self._connected(descriptors))
        self._known = {peer: None for peer in [*self._known, *connected] if peer in connected}
        excess = find_excess(self._known, self._settings.max_per_address, self._shared)
        return [peer for peer in excess if self._shut_down(connected[peer], peer)]

    def _connected(self, descriptors: Iterable[int]) -> Iterable[tuple[Peer, int]]:
        for descriptor in descriptors:
            with _Duplicate(descriptor) as sock:
                if peer := sock and self._peer(sock):
                    yield peer, descriptor

    def _shut_down(self, descriptor: int, peer: Peer) -> bool:
        with _Duplicate(descriptor) as sock:
            # The descriptor may be another file by now.
            if sock is None or self._peer(sock) != peer:
                return False
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return False
            return True

    def _peer(self, sock: socket.socket) -> Peer | None:
        try:
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname()[1] in self._ports:
                address, port = sock.getpeername()[:2]
                return Peer(address, port)
        except OSError:
            pass
        return None


def find_excess(peers: Iterable[Peer], limit: int, shared: Callable[[str], bool]) -> Sequence[Peer]:
    """Those of each network beyond `limit`, without those of `shared` addresses; the earlier ones stay."""
    counts: Counter[str] = Counter()
    excess = []
    for peer in peers:
        network = client_network(peer.address)
        counts[network] += 1
        if counts[network] > limit and not shared(peer.address):
            excess.append(peer)
    return excess


class _Duplicate:
    """A socket object of its own for a descriptor of the process, or None if that is no socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._socket: socket.socket | None = None

    def __enter__(self) -> socket.socket | None:
        try:
            duplicate = os.dup(self._descriptor)
        except OSError:
            return None
        try:
            self._socket = socket.socket(fileno=duplicate)
        except OSError:
            os.close(duplicate)
        return self._socket

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()
