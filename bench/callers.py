"""Callers of unary gRPC methods that need little CPU time: the machine is left to what is measured.

A caller is a connection that sends one call after another. Its frames of HTTP/2 are put together from bytes
that were prepared before, and of the answer only the status is read. A client of gRPC for Python needs 0.3 ms
for each call, as much as the control plane.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

#: The n-th call: path, metadata (name, value), and serialized request.
MakeCall = Callable[[int], "Call"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_MAX_WINDOW = 2**31 - 1
#: No compression that depends on earlier headers, and no limit of the answers.
_SETTINGS_PAYLOAD = struct.pack(">HIHI", 1, 0, 4, _MAX_WINDOW)
#: The trailer of a call that succeeded, as HTTP/2 writes a header without compression.
_OK = b"\x0bgrpc-status\x010"


@dataclass(frozen=True, slots=True)
class Call:
    """`head`: see `prepare`."""

    head: bytes
    request: bytes


def prepare(path: str, metadata: Sequence[tuple[str, str]]) -> bytes:
    """The headers of calls of a method by one caller."""
    # 0x83 and 0x86: POST and http. 0x04, 0x01 and 0x0f 0x10: the names :path, :authority and content-type.
    block = b"\x83\x86\x04" + _text(path) + b"\x01" + _text("bench") + b"\x0f\x10" + _text("application/grpc")
    for name, value in (("te", "trailers"), *metadata):
        block += b"\x00" + _text(name) + _text(value)
    return block


@dataclass
class Results:
    """Durations of the calls (ms); seconds of all, and the CPU time of this process (s)."""

    durations: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0


async def repeat(
    host: str, port: int, make: MakeCall, *, callers: int, duration: float, first: int = 0
) -> Results:
    """Send calls for `duration` seconds, `callers` at a time, from number `first` on. Raises CallFailed."""
    loop = asyncio.get_running_loop()
    results, numbers = Results(), count(first)
    connections = []
    for _ in range(callers):
        _, caller = await loop.create_connection(lambda: _Caller(make, numbers.__next__, results), host, port)
        connections.append(caller)
    cpu, started = time.process_time(), time.monotonic()
    for caller in connections:
        caller.begin(started + duration)
    try:
        await asyncio.gather(*(caller.ended for caller in connections))
    finally:
        for caller in connections:
            caller.close()
    results.seconds, results.cpu = time.monotonic() - started, time.process_time() - cpu
    return results


class CallFailed(Exception):
    """A call did not succeed, or its connection was closed."""


class _Caller(asyncio.Protocol):
    def __init__(self, make: MakeCall, next_number: Callable[[], int], results: Results) -> None:
        self._make, self._next_number, self._durations = make, next_number, results.durations
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.WriteTransport
        self._received = b""
        self._stream, self._until, self._sent_at = -1, 0.0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        window = struct.pack(">I", _MAX_WINDOW - 65_535)
        settings = _frame(_SETTINGS, 0, 0, _SETTINGS_PAYLOAD)
        transport.write(_PREFACE + settings + _frame(_WINDOW_UPDATE, 0, 0, window))

    def begin(self, until: float) -> None:
        self._until = until
        self._call()

    def close(self) -> None:
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._fail("the connection was closed")

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        at, size = 0, len(received)
        while size - at >= 9:
            end = at + 9 + int.from_bytes(received[at : at + 3], "big")
            if end > size:
                break
            kind, flags = received[at + 3], received[at + 4]
            if kind != _DATA:
                self._read(kind, flags, received[at + 9 : end])
            at = end
        self._received = received[at:]

    def _read(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _HEADERS and flags & _END_STREAM:
            if _OK not in payload:
                self._fail(f"the call failed: {payload!r}")
                return
            now = time.monotonic()
            self._durations.append((now - self._sent_at) * 1000)
            if now < self._until:
                self._call()
            elif not self.ended.done():
                self.ended.set_result(None)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in (_RST_STREAM, _GOAWAY):
            self._fail(f"the server ended the call: {payload!r}")

    def _call(self) -> None:
        call = self._make(self._next_number())
        self._stream += 2
        message = b"\x00" + struct.pack(">I", len(call.request)) + call.request
        self._sent_at = time.monotonic()
        self._transport.write(
            _frame(_HEADERS, _END_HEADERS, self._stream, call.head)
            + _frame(_DATA, _END_STREAM, self._stream, message)
        )

    def _fail(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(CallFailed(reason))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(text: str) -> bytes:
    """A string of HPACK, without compression."""
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, length = len(data) - 127, b"\x7f"
    while rest >= 128:
        length += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return length + bytes([rest]) + data
