"""Follows the log of a container for a user, through the API server.

The server adds a time to each line, so that a log that broke off can be continued after its last line.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime

from pipecd.errors import Refused, Temporary
from pipecd.model.details import LogLine, LogRequest
from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.cluster.errors import Rejected
from pipecd.platforms.kubernetes.details import find_object
from pipecd.printable import printable

#: A longer line is split (bytes).
MAX_LINE = 8 * 1024
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?(.*)", re.DOTALL)
#: The server's answer for a container that has not run yet.
_WAITING = "is waiting to start"

#: Epoch seconds and nanoseconds.
Instant = tuple[int, int]


async def follow_log(request: LogRequest) -> AsyncGenerator[Sequence[LogLine]]:
    """Raises NotFound, Refused, and Temporary if the container has not started, or its node is away."""
    since = _instant(request.since) if request.since else None
    if request.since and since is None:
        raise Refused("`since` is not a time of RFC 3339")
    async with find_object(request) as found:
        if (found.type.group, found.type.kind) != ("", "Pod"):
            raise Refused(f"{found} has no log; pods have")
        path = found.type.path(found.namespace, found.name, "log")
        # The connection to the cluster outlives this block: it is shared, and closed with the agent.
        api = found.cluster.api
    params = {
        "follow": "false" if request.previous else "true",
        "previous": "true" if request.previous else "false",
        "timestamps": "true",
        "tailLines": str(request.tail_lines),
    }
    if request.container:
        params["container"] = request.container
    if request.since:
        params["sinceTime"] = request.since
    try:
        async with aclosing(_read(api, path, params)) as chunks:
            async for lines in _split(chunks):
                if since is not None:
                    # The server's `sinceTime` includes the line itself.
                    lines = [line for line in lines if (_instant(line.time) or since) > since]
                yield lines
    except Rejected as error:
        if _WAITING in str(error):
            raise Temporary(str(error)) from error
        raise


async def _read(api: ApiClient, path: str, params: dict[str, str]) -> AsyncGenerator[bytes]:
    """The log as it comes; first nothing, when the server has accepted the request."""
    async with api.stream(path, params=params, headers={"Accept": "*/*"}, silence=None) as chunks:
        yield b""
        async for chunk in chunks:
            yield chunk


async def _split(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Sequence[LogLine]]:
    rest = b""
    async for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            complete, rest = [*complete, rest], b""
        yield [_to_line(part) for line in complete for part in _parts(line)]
    if rest:
        yield [_to_line(part) for part in _parts(rest)]


def _parts(line: bytes) -> Sequence[bytes]:
    return [line[start : start + MAX_LINE] for start in range(0, max(len(line), 1), MAX_LINE)]


def _to_line(data: bytes) -> LogLine:
    match = _TIME.match(data)
    time, text = (match[1].decode(), match[2]) if match else ("", data)
    return LogLine(time=time, text=_without_controls(text.decode(errors="replace")))


def _without_controls(text: str) -> str:
    """`printable`, with the indentation."""
    indented = text.replace("\t", "    ").rstrip()
    stripped = indented.lstrip(" ")
    return " " * (len(indented) - len(stripped)) + printable(stripped)


def _instant(time: str) -> Instant | None:
    """None if it is no time of RFC 3339."""
    match = re.fullmatch(r"([^.]{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", time)
    if match is None:
        return None
    try:
        seconds = int(datetime.fromisoformat(match[1] + match[3]).timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds, int((match[2] or "").ljust(9, "0"))
