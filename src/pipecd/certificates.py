"""The certificates that HTTPS servers are verified with."""

import asyncio
import ssl
from functools import cache


async def tls_context() -> ssl.SSLContext:
    """For `verify` of an HTTP client. Read once, in a thread: it takes too long for the event loop."""
    return await asyncio.to_thread(_tls_context)


@cache
def _tls_context() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()
