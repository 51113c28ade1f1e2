"""The flags that every command has, and the client that they make."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipecd.client import ApiKey, Client, Transport, connect
from pipecd.config.flags import switch
from pipecd.errors import ConfigError

#: Seconds.
DIAL_TIMEOUT = 5.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    address: str
    api_key: str
    api_key_file: Path | None
    transport: Transport

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connected. Raises ConfigError or Temporary."""
        client = await connect(self.address, ApiKey(key=self._key()), self.transport, timeout=DIAL_TIMEOUT)
        try:
            yield client
        finally:
            await client.close()

    def _key(self) -> str:
        if self.api_key and self.api_key_file:
            raise ConfigError("both --api-key and --api-key-file are given", remedy="give one of them")
        if self.api_key:
            return self.api_key
        if self.api_key_file is None:
            raise ConfigError(
                "no API key is given",
                remedy="give --api-key-file, --api-key or PIPECD_API_KEY; the console makes keys",
            )
        try:
            return self.api_key_file.read_text().strip()
        except OSError as error:
            raise ConfigError(f"--api-key-file: {self.api_key_file}: {error.strerror}") from error


def with_client(run: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a click callback of `run(client, …)`, and gives the command the connection's flags."""

    @click.option("--address", envvar="PIPECD_HOST", required=True, help="host:port of the control plane.")
    @click.option("--api-key", envvar="PIPECD_API_KEY", default="", help="Better: --api-key-file.")
    @click.option("--api-key-file", type=click.Path(dir_okay=False, path_type=Path), default=None)
    @switch("--insecure", "Speak plaintext.")
    @click.option("--cert-file", default="", help="Trust these PEM certificates.")
    @functools.wraps(run)
    def callback(
        address: str, api_key: str, api_key_file: Path | None, insecure: bool, cert_file: str, **options: Any
    ) -> None:
        transport = Transport(insecure=insecure, cert_file=cert_file)
        connection = Connection(
            address=address, api_key=api_key, api_key_file=api_key_file, transport=transport
        )

        async def main() -> None:
            async with connection.client() as client:
                await run(client, **options)

        asyncio.run(main())

    return callback
