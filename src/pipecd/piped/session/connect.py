"""The first words with the control plane: dial, say who we are, or give up with a sentence."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from pipecd import __version__
from pipecd.client import Client, PipedToken, connect
from pipecd.config.piped import PipedSpec
from pipecd.errors import ConfigError, NotFound, PermissionDenied, Temporary, Unauthenticated, Unsupported
from pipecd.piped.options import Options
from pipecd.piped.session.meta import Identity, report_meta
from pipecd.retry import Retry
from pipecd.retry import call as retried

log = structlog.get_logger()

#: Each try waits for the connection as long as `client.DIAL_TIMEOUT`.
DIAL = Retry(base=1.0, cap=10.0, tries=4)


@asynccontextmanager
async def acquainted(
    spec: PipedSpec, key: str, options: Options, public_key: str
) -> AsyncIterator[tuple[Client, str, Identity]]:
    """A client that the control plane knows, this process's name for the lease, and who we are to it.

    `public_key` is what secrets for this agent are sealed with, or empty.
    Raises ConfigError when the control plane refuses us, Temporary when it stays away.
    """
    instance = uuid.uuid4().hex
    token = PipedToken(project_id=spec.project_id, piped_id=spec.piped_id, key=key)

    async def dial() -> Client:
        return await connect(
            spec.api_address, token, options.transport, instance=instance, timeout=options.dial_timeout
        )

    client = await retried(dial, DIAL, before_retry=_again)
    try:
        yield client, instance, await _introduced(client, spec, options, public_key)
    finally:
        await client.close()


async def _introduced(client: Client, spec: PipedSpec, options: Options, public_key: str) -> Identity:
    place = f"the control plane at {client.address}"
    try:
        return await report_meta(
            client, spec, version=__version__, masked=options.shown_config, public_key=public_key
        )
    except (Unauthenticated, PermissionDenied, NotFound) as error:
        raise ConfigError(
            f"{place} refuses this agent: {error}",
            remedy="check spec.projectID, spec.pipedID and the key against the console's settings, and that"
            " the agent is enabled there",
        ) from error
    except Unsupported as error:
        raise ConfigError(
            f"{place} does not speak PipeCD's protocol", remedy="correct spec.apiAddress"
        ) from error


def _again(error: Exception, pause: float) -> None:
    why = str(error) if isinstance(error, Temporary) else repr(error)
    log.warning("control plane is away", why=why, again_in=round(pause, 1))
