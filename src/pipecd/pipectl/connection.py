"""Connection flags, shared by every command, and the client built from them."""

import asyncio
import functools
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pipecd import tracing
from pipecd.client import ApiKey, Client, Transport, connect
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.flags import switch
from pipecd.errors import ConfigError
from pipecd.pipectl.profiles import Settings, combine, configuration_file, load_profile
from pipecd.trace_export import exporting
from pipecd.trace_export.collector import connected, from_environment, is_installed
from pipecd.trace_export.queue import ExportQueue

#: Size limit of a response, in bytes; the logs of all stages of a deployment are one response.
MAX_RESPONSE_BYTES = 256 * 1024 * 1024
#: How long to wait for the connection, in seconds, as PipeCD's pipectl. A refused one fails at once.
DIAL_TIMEOUT = 5.0
#: Exit code of an interrupted program, by shell convention (128 + SIGINT).
EXIT_INTERRUPTED = 130


def with_client(run: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Turn `run(client, …)` into a click callback that connects first, and add the connection flags."""

    @click.option(
        "--address",
        default="",
        envvar="PIPECD_HOST",
        show_envvar=True,
        help="Address (host:port) of the control plane.",
    )
    @click.option(
        "--api-key",
        default="",
        envvar="PIPECD_API_KEY",
        show_envvar=True,
        help="API key; on the command line other users can see it.",
    )
    @click.option(
        "--api-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        default=None,
        envvar="PIPECD_API_KEY_FILE",
        show_envvar=True,
        help="File that contains the API key.",
    )
    @switch("--insecure", "Use plaintext instead of TLS.", envvar="PIPECD_INSECURE")
    @click.option(
        "--cert-file",
        default="",
        envvar="PIPECD_CERT_FILE",
        show_envvar=True,
        help="PEM file of CA certificates to trust.",
    )
    @click.option(
        "--profile",
        default="",
        envvar="PIPECD_PROFILE",
        show_envvar=True,
        help="Profile of the configuration file, instead of its default.",
    )
    @functools.wraps(run)
    def callback(profile: str, **options: Any) -> None:
        values = connection_values(options)
        options = {name: value for name, value in options.items() if name not in values}
        settings = find_settings(click.get_current_context(), values, profile)

        command = click.get_current_context().command_path

        async def main() -> None:
            async with command_traces(command), connect_with(settings) as client:
                await run(client, **options)

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)

    return callback


def connection_values(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of the connection options, without the profile, by the name of their field of `Settings`."""
    return {field.name: options[field.name] for field in fields(Settings)}


def find_settings(context: click.Context, given: Mapping[str, Any], profile_name: str) -> Settings:
    """Combine `given`, the values of the options, with the profile. Raises ConfigError or UsageError.

    A flag comes first. A profile that is named by a flag precedes the environment, as the more explicit one.
    """

    def from_source(source: ParameterSource) -> Settings:
        return Settings(
            **{name: value for name, value in given.items() if context.get_parameter_source(name) is source}
        )

    flags, environment = (
        from_source(source) for source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    )
    file = configuration_file()
    profile = load_profile(profile_name, file)
    explicit = context.get_parameter_source("profile") is ParameterSource.COMMANDLINE
    if profile is None:
        settings = combine([flags, environment])
    elif explicit:
        if flags.address and flags.address != profile.address:
            raise click.UsageError(f"--address and --profile {profile_name} name different control planes")
        settings = combine([flags, profile, environment], profile)
    else:
        settings = combine([flags, environment, profile], profile)
    if not settings.address:
        raise click.UsageError(f"no control plane is set: use --address, PIPECD_HOST or a profile in {file}")
    return settings


@asynccontextmanager
async def command_traces(command: str) -> AsyncIterator[None]:
    """A span for the command, if the environment names a collector (`OTEL_EXPORTER_OTLP_ENDPOINT`)."""
    collector = from_environment(os.environ)
    # The variables may be set for all programs of a machine.
    if collector is None or not is_installed():
        yield
        return
    async with connected(collector) as send, exporting("pipectl", {}, ExportQueue(SYSTEM_CLOCK), send):
        with tracing.span(command):
            yield


@asynccontextmanager
async def connect_with(settings: Settings) -> AsyncIterator[Client]:
    """Yield a connected client. Raises ConfigError or Temporary."""
    if "://" in settings.address:
        host = settings.address.partition("://")[2].rstrip("/")
        raise ConfigError(f"{settings.address} is not a host:port address", remedy=f"use --address={host}")
    transport = Transport(
        insecure=bool(settings.insecure), cert_file=settings.cert_file, max_response_bytes=MAX_RESPONSE_BYTES
    )
    key = ApiKey(key=_validate_key(_read_key(settings)))
    client = await connect(settings.address, key, transport, timeout=DIAL_TIMEOUT, fail_fast=True)
    try:
        yield client
    finally:
        await client.close()


def _read_key(settings: Settings) -> str:
    if settings.api_key_file:
        return _read_key_file(settings.api_key_file)
    if settings.api_key:
        return settings.api_key
    raise ConfigError(
        "no API key is set",
        remedy="set --api-key-file, PIPECD_API_KEY or a profile; create a key in the console",
    )


_REMEDY = "name a readable file that contains the API key and nothing else"


def _read_key_file(file: Path) -> str:
    try:
        key = file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"API key file {file}: {error.strerror}", remedy=_REMEDY) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"API key file {file} is not text", remedy=_REMEDY) from error
    if not key:
        raise ConfigError(f"API key file {file} is empty", remedy="write the API key to it")
    return key


def _validate_key(key: str) -> str:
    """Return the stripped key. Raises ConfigError unless it is visible ASCII, as gRPC metadata requires."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            "the API key is not one line of ASCII characters without spaces", remedy="copy it again"
        )
    return key
