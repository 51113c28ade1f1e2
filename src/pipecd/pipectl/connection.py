"""Connection flags, shared by every command, and the client built from them."""

import asyncio
import functools
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipecd.client import ApiKey, Client, Transport, connect
from pipecd.config.flags import switch
from pipecd.errors import ConfigError

#: Size limit of a response, in bytes; the logs of all stages of a deployment are one response.
MAX_RESPONSE_BYTES = 256 * 1024 * 1024
API_KEY_VARIABLE = "PIPECD_API_KEY"
#: Exit code of an interrupted program, by shell convention (128 + SIGINT).
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Connection:
    address: str
    api_key: str
    api_key_file: Path | None
    #: API key from the environment, used if no flag sets one.
    default_key: str
    transport: Transport

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Yield a connected client. Raises ConfigError or Temporary."""
        if "://" in self.address:
            host = self.address.partition("://")[2].rstrip("/")
            raise ConfigError(f"{self.address} is not a host:port address", remedy=f"use --address={host}")
        key = ApiKey(key=_validate_key(self._key()))
        client = await connect(self.address, key, self.transport)
        try:
            yield client
        finally:
            await client.close()

    def _key(self) -> str:
        if self.api_key and self.api_key_file:
            raise ConfigError("both --api-key and --api-key-file are set", remedy="use one of them")
        if self.api_key_file:
            return _read_key_file(self.api_key_file)
        if key := self.api_key or self.default_key:
            return key
        raise ConfigError(
            "no API key is set",
            remedy="set --api-key-file, --api-key or PIPECD_API_KEY; create a key in the console",
        )


def _read_key_file(file: Path) -> str:
    try:
        key = file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"--api-key-file: {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--api-key-file: {file} is not text") from error
    if not key:
        raise ConfigError(f"--api-key-file: {file} is empty", remedy="write the API key to it")
    return key


def _validate_key(key: str) -> str:
    """Return the stripped key. Raises ConfigError unless it is visible ASCII, as gRPC metadata requires."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            "the API key is not one line of ASCII characters without spaces", remedy="copy it again"
        )
    return key


def with_client(run: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Turn `run(client, …)` into a click callback that connects first, and add the connection flags."""

    @click.option(
        "--address",
        envvar="PIPECD_HOST",
        show_envvar=True,
        required=True,
        help="Address (host:port) of the control plane.",
    )
    @click.option("--api-key", default="", help="API key; prefer --api-key-file or PIPECD_API_KEY.")
    @click.option(
        "--api-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        default=None,
        help="File that contains the API key.",
    )
    @switch("--insecure", "Use plaintext instead of TLS.")
    @click.option("--cert-file", default="", help="PEM file of CA certificates to trust.")
    @functools.wraps(run)
    def callback(
        address: str,
        api_key: str,
        api_key_file: Path | None,
        insecure: bool,
        cert_file: str,
        **options: Any,
    ) -> None:
        connection = Connection(
            address=address,
            api_key=api_key,
            api_key_file=api_key_file,
            default_key=os.environ.get(API_KEY_VARIABLE, ""),
            transport=Transport(
                insecure=insecure, cert_file=cert_file, max_response_bytes=MAX_RESPONSE_BYTES
            ),
        )

        async def main() -> None:
            async with connection.client() as client:
                await run(client, **options)

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)

    return callback
