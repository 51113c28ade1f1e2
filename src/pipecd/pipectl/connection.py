"""The flags that every command has, and the client that they make."""

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

#: Bytes: the logs of all stages of a deployment come as one answer.
LARGEST_ANSWER = 256 * 1024 * 1024
KEY_VARIABLE = "PIPECD_API_KEY"
#: What a shell expects of a program that was interrupted.
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Connection:
    address: str
    api_key: str
    api_key_file: Path | None
    #: The environment's, for when no flag gives one.
    usual_key: str
    transport: Transport

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connected. Raises ConfigError or Temporary."""
        if "://" in self.address:
            host = self.address.partition("://")[2].rstrip("/")
            raise ConfigError(
                f"{self.address} is not an address of a control plane", remedy=f"write --address={host}"
            )
        key = ApiKey(key=_sendable(self._key()))
        client = await connect(self.address, key, self.transport)
        try:
            yield client
        finally:
            await client.close()

    def _key(self) -> str:
        if self.api_key and self.api_key_file:
            raise ConfigError("both --api-key and --api-key-file are given", remedy="give one of them")
        if self.api_key_file:
            return _content(self.api_key_file)
        if key := self.api_key or self.usual_key:
            return key
        raise ConfigError(
            "no API key is given",
            remedy="give --api-key-file, --api-key or PIPECD_API_KEY; the console makes keys",
        )


def _content(file: Path) -> str:
    try:
        key = file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"--api-key-file: {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--api-key-file: {file} is not text") from error
    if not key:
        raise ConfigError(f"--api-key-file: {file} is empty", remedy="write the key into it")
    return key


def _sendable(key: str) -> str:
    """gRPC's metadata take visible ASCII only, and would end the program with a traceback."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key is not one line of letters and digits", remedy="copy it again")
    return key


def with_client(run: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a click callback of `run(client, …)`, and gives the command the connection's flags."""

    @click.option(
        "--address",
        envvar="PIPECD_HOST",
        show_envvar=True,
        required=True,
        help="host:port of the control plane.",
    )
    @click.option("--api-key", default="", help="Better: --api-key-file, or PIPECD_API_KEY.")
    @click.option("--api-key-file", type=click.Path(dir_okay=False, path_type=Path), default=None)
    @switch("--insecure", "Speak plaintext.")
    @click.option("--cert-file", default="", help="Trust these PEM certificates.")
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
            usual_key=os.environ.get(KEY_VARIABLE, ""),
            transport=Transport(insecure=insecure, cert_file=cert_file, largest=LARGEST_ANSWER),
        )

        async def main() -> None:
            async with connection.client() as client:
                await run(client, **options)

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    return callback
