"""Value files of a chart: files of the repository, and files that the agent downloads.

The author of an application writes the URLs. The agent downloads such a file itself, so that it can refuse
addresses at which a machine offers its own credentials, and bound the size.
"""

import asyncio
import csv
import io
import ipaddress
import socket
import ssl
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from pipecd.errors import ConfigError, Temporary
from pipecd.remotes import host_name, http_origin
from pipecd.secrets import strip_credentials

#: Of a downloaded file: bytes, seconds, and how many servers may redirect to others.
MAX_BYTES, TIMEOUT, MAX_REDIRECTS = 1024 * 1024, 30.0, 5
#: Of the metadata service of AWS, over IPv6.
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254")})


def is_url(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def as_flag(flag: str, path: Path) -> str:
    """Helm reads the value of some flags as a line of comma-separated values."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow([str(path)])
    return f"{flag}={line.getvalue()}"


def is_allowed(address: str) -> bool:
    """Whether the agent downloads from this IP address: not from its own machine, nor its link."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    ip = mapped or ip
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast or ip in _METADATA)


def is_allowed_host(host: str) -> bool:
    """Whether a host may be an allowed one; a name is only known when it is resolved."""
    try:
        return is_allowed(host.strip("[]"))
    except ValueError:
        try:
            # Also `127.1` and `2130706433` are addresses.
            return is_allowed(socket.inet_ntoa(socket.inet_aton(host)))
        except OSError:
            return host.lower().rstrip(".") != "localhost"


class _Refused(OSError):
    pass


class _Resolver(AbstractResolver):
    """Resolves names to allowed addresses only."""

    def __init__(self, origins: Collection[str]) -> None:
        self._resolver, self._hosts = ThreadedResolver(), {host_name(origin) for origin in origins}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if host.lower() in self._hosts:
            return found
        allowed = [item for item in found if is_allowed(item["host"])]
        if found and not allowed:
            raise _Refused(host)
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


async def download(
    url: str, target: Path, origins: Collection[str] = (), *, max_size: int = MAX_BYTES
) -> None:
    """Write the file at `url` to `target`. Raises ConfigError without a place, or Temporary.

    `origins` are servers that may be on the agent's machine; `max_size` is in bytes.
    """
    # Reads the certificates of all authorities.
    context = await asyncio.to_thread(ssl.create_default_context)
    connector = aiohttp.TCPConnector(resolver=_Resolver(origins), ssl=context)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    shown = strip_credentials(url)[:200]
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True) as session:
            target.write_bytes(await _read(session, url, origins, shown, max_size))
    except _Refused:
        raise _refused(shown) from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, _Refused):
            raise _refused(shown) from None
        raise Temporary(f"{shown} cannot be downloaded: {error}") from error
    except TimeoutError:
        raise Temporary(f"{shown} was not downloaded within {TIMEOUT:g} s") from None
    except aiohttp.ClientError as error:
        raise Temporary(f"{shown} cannot be downloaded: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{shown} is not a URL: {error}") from error


async def _read(session: Any, url: str, origins: Collection[str], shown: str, max_size: int) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ConfigError(f"{shown} redirects to something that is not an http or https URL")
        # The resolver is not asked for what is an address already.
        if http_origin(url) not in origins and not is_allowed_host(parts.hostname or ""):
            raise _refused(shown)
        async with session.get(url, allow_redirects=False) as response:
            if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                url = urljoin(url, response.headers["Location"])
                continue
            if response.status >= 500 or response.status == 429:
                raise Temporary(f"{shown} cannot be downloaded: HTTP {response.status}")
            if response.status != 200:
                raise ConfigError(
                    f"{shown} cannot be downloaded: HTTP {response.status}", remedy="correct the URL"
                )
            content: bytes = await response.content.read(max_size + 1)
            while len(content) <= max_size and (more := await response.content.read(max_size)):
                content += more
            if len(content) > max_size:
                raise ConfigError(f"{shown} has more than {max_size >> 20} MiB")
            return content
    raise ConfigError(f"{shown} redirects more than {MAX_REDIRECTS} times")


def _refused(shown: str) -> ConfigError:
    return ConfigError(
        f"{shown} is an address of the agent's machine", remedy="put the file into the repository"
    )
