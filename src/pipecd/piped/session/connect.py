"""Connects to the control plane and registers this process."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from pipecd import __version__
from pipecd.client import Client, PipedToken, connect
from pipecd.config.piped import PipedSpec
from pipecd.errors import (
    ConfigError,
    NotFound,
    PermissionDenied,
    Place,
    Temporary,
    Unauthenticated,
    Unsupported,
)
from pipecd.piped.options import Options
from pipecd.piped.session.meta import Identity, report_meta
from pipecd.retry import call as call_with_retry
from pipecd.schema.model.piped_pb2 import Piped

log = structlog.get_logger()


@asynccontextmanager
async def connect_and_register(
    spec: PipedSpec,
    key: str,
    options: Options,
    public_key: str,
    provider_notices: Sequence[Piped.ProviderNotice] = (),
) -> AsyncIterator[tuple[Client, str, Identity]]:
    """Yield a registered client, this process's instance id for the lease, and the agent's identity.

    `public_key` is the key that secrets for this agent are encrypted with, or empty.
    Raises ConfigError when the control plane refuses the agent, Temporary when it stays unreachable.
    """
    instance = uuid.uuid4().hex
    clock, settings = options.clock, options.settings.connect
    token = PipedToken(project_id=spec.project_id, piped_id=spec.piped_id, key=key)

    async def dial() -> Client:
        return await connect(
            spec.api_address,
            token,
            options.transport,
            instance=instance,
            timeout=settings.dial_timeout,
            on_failure=_log_failure,
            clock=clock,
        )

    client = await call_with_retry(dial, settings.dial_retry, sleep=clock.sleep, before_retry=_log_retry)
    try:
        yield client, instance, await _register(client, spec, options, public_key, provider_notices)
    finally:
        await client.close()


async def _register(
    client: Client,
    spec: PipedSpec,
    options: Options,
    public_key: str,
    provider_notices: Sequence[Piped.ProviderNotice],
) -> Identity:
    server = f"the control plane at {client.address}"
    try:
        return await report_meta(
            client,
            spec,
            version=__version__,
            masked_config=options.shown_config,
            public_key=public_key,
            provider_notices=provider_notices,
        )
    except (Unauthenticated, PermissionDenied, NotFound) as error:
        raise ConfigError(
            f"{server} refuses this agent: {error}",
            remedy="check spec.projectID, spec.pipedID and the key against the console's settings, and that"
            " the agent is enabled there",
        ) from error
    except Unsupported as error:
        raise ConfigError(
            f"{server} does not speak PipeCD's protocol",
            remedy="correct the address",
            place=Place(key="spec.apiAddress"),
        ) from error


def _log_failure(error: Temporary) -> None:
    """The first attempt has failed. gRPC repeats it by itself until the timeout."""
    log.warning("control_plane_unreachable", error=str(error))


def _log_retry(error: Exception, delay: float) -> None:
    message = str(error) if isinstance(error, Temporary) else repr(error)
    log.warning("control_plane_unreachable", error=message, retry_in=round(delay, 1))
