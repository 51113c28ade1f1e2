"""Reads the body of a request or an answer, whose size the other side decides, up to a limit."""

from collections.abc import AsyncIterable


async def read_bounded(chunks: AsyncIterable[bytes], max_size: int) -> bytes | None:
    """All chunks together; None, after the first one beyond it, if they have more than `max_size` bytes."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_size:
            return None
    return bytes(body)
