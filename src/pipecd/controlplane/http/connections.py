"""Limits of HTTP connections: how many there are, and how long a client may take to send a request.

`limited_protocol` is uvicorn's protocol with these limits; uvicorn itself has none. A connection that does
nothing is closed in favour of a new one, so that silent connections cannot keep others out.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from prometheus_client import Counter as Metric
from prometheus_client import Gauge
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipecd.controlplane.auth.client_address import client_network
from pipecd.controlplane.settings import ConnectionSettings

log = structlog.get_logger()

OPEN = Gauge("pipecd_http_connections", "Open HTTP connections.")
CLOSED = Metric(
    "pipecd_http_connections_closed_total", "HTTP connections closed because of a limit.", ["reason"]
)
#: Why a connection is closed: its address has too many.
CROWDED = "too many connections of its address"
#: Soft limit of open files that a server asks for; the hard limit may be lower.
WANTED_FILES = 65_536
#: Least interval between two log lines of the same reason, in seconds: an attack must not fill the log.
_LOG_INTERVAL = 10.0


def raise_file_limit() -> int:
    """Raise the limit of open files of this process as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = WANTED_FILES
    wanted = max(soft, min(hard, WANTED_FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return wanted


def max_connections(wanted: int) -> int:
    """`wanted`, or less if the limit of open files is low: a quarter of the files for one port."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, soft // 4)


class Connection(Protocol):
    address: str

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""

    def end(self, reason: str) -> None: ...


class Reports:
    """Counts closed connections in `metric`, and logs those of the same reason together."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._unreported: Counter[str] = Counter()
        self._reported_at: dict[str, float] = {}

    def add(self, reason: str, address: str, count: int = 1) -> None:
        self._metric.labels(reason).inc(count)
        self._unreported[reason] += count
        now = asyncio.get_running_loop().time()
        if now - self._reported_at.get(reason, -_LOG_INTERVAL) >= _LOG_INTERVAL:
            total = self._unreported.pop(reason)
            self._reported_at[reason] = now
            log.warning("connections_closed", reason=reason, count=total, latest_peer=address)


class Connections:
    """The open connections of one port. `shared` tells addresses that stand for many clients: proxies."""

    def __init__(self, settings: ConnectionSettings, shared: Callable[[str], bool]) -> None:
        self.settings, self._shared = settings, shared
        self._max = max_connections(settings.max_connections)
        self._admits = True
        #: In the order in which they were opened.
        self._open: dict[Connection, None] = {}
        self._by_network: Counter[str] = Counter()
        self.report = Reports(CLOSED).add

    def admit(self, connection: Connection) -> bool:
        """Whether a new connection may stay. If there are too many, the oldest idle one is closed."""
        if not self._admits:
            return False
        address = connection.address
        network = client_network(address)
        if self._by_network[network] >= self.settings.max_per_address and not self._shared(address):
            self.report(CROWDED, address)
            return False
        if len(self._open) >= self._max and not self._end_oldest_idle():
            self.report("too many connections", address)
            return False
        self._open[connection] = None
        self._by_network[network] += 1
        OPEN.inc()
        return True

    def admit_no_more(self) -> None:
        """Refuse all new connections from now on."""
        self._admits = False

    def end_all(self, reason: str) -> None:
        for connection in list(self._open):
            connection.end(reason)

    def remove(self, connection: Connection) -> None:
        if connection not in self._open:
            return
        del self._open[connection]
        network = client_network(connection.address)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
        OPEN.dec()

    def _end_oldest_idle(self) -> bool:
        oldest = next((connection for connection in self._open if connection.idle), None)
        if oldest is None:
            return False
        oldest.end("idle, and there are too many connections")
        return True


def limited_protocol(connections: Connections) -> type[HttpToolsProtocol]:
    """uvicorn's protocol for the connections of one port."""
    settings = connections.settings

    class LimitedProtocol(HttpToolsProtocol):
        """One timer runs while a request is to be received, one while a response is not read."""

        address = ""
        _receiving: asyncio.TimerHandle | None = None
        _sending: asyncio.TimerHandle | None = None
        _in_head = False
        _head_size = 0
        #: Requests that have begun.
        _heads = 0

        @property
        def idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def connection_made(self, transport: Any) -> None:
            peer = transport.get_extra_info("peername")
            self.address = str(peer[0]) if peer else ""
            if not connections.admit(self):
                transport.abort()
                return
            super().connection_made(transport)
            self._expect("no request", settings.head_timeout)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timers()
            connections.remove(self)
            # A refused connection was never made.
            if self.transport is not None:
                super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            heads = self._heads
            super().data_received(data)
            if self._in_head:
                # What came before the headers in the same piece, such as other requests, does not count.
                self._head_size += len(data) if self._heads == heads else 0
                if self._head_size > settings.max_head_size:
                    self.end("the headers are too large")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head, self._head_size = True, 0
            self._heads += 1
            self._expect("slow headers", settings.head_timeout)

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._expect("slow body", settings.body_timeout)
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._stop_timers(sending=False)
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._sending = self.loop.call_later(settings.read_timeout, self.end, "the response is not read")

        def resume_writing(self) -> None:
            self._stop_timers(receiving=False)
            super().resume_writing()

        def end(self, reason: str) -> None:
            connections.report(reason, self.address)
            connections.remove(self)
            self._stop_timers()
            # Without waiting for a client that may never read what is buffered.
            self.transport.abort()

        def _expect(self, otherwise: str, seconds: float) -> None:
            self._stop_timers(sending=False)
            self._receiving = self.loop.call_later(seconds, self._receive_timeout, otherwise, seconds)

        def _receive_timeout(self, reason: str, seconds: float) -> None:
            if self.flow.read_paused:
                # It is this server that does not read: requests before this one are being answered.
                self._expect(reason, seconds)
            else:
                self.end(reason)

        def _stop_timers(self, *, receiving: bool = True, sending: bool = True) -> None:
            if receiving and self._receiving:
                self._receiving.cancel()
                self._receiving = None
            if sending and self._sending:
                self._sending.cancel()
                self._sending = None

    return LimitedProtocol
