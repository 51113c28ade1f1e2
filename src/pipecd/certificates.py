"""The certificates that HTTPS servers are verified with."""

import asyncio
import ssl
from functools import cache


async def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """For `verify` of an HTTP client: trusts public authorities, or those in `ca_file` instead.

    Read in a thread, since it takes too long for the event loop; those of public authorities only once.
    Raises OSError if the file cannot be read.
    """
    if ca_file:
        return await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
    return await asyncio.to_thread(_tls_context)


@cache
def _tls_context() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()
