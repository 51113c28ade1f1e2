"""The target the launcher runs: the current configuration, and the version the control plane specifies.

`supervisor` fetches it periodically. While the control plane does not answer, the version stays unchanged.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from packaging.version import InvalidVersion, Version

from pipecd import __version__
from pipecd.client import Client, PipedToken, Transport
from pipecd.clock import Clock
from pipecd.config.piped import Access, load_access, secret_values
from pipecd.config.sources import Source
from pipecd.errors import ConfigError, NotFound, PermissionDenied, Temporary, Unauthenticated, Unsupported
from pipecd.schema.agent.pipeds_pb2 import GetDesiredVersionRequest
from pipecd.telemetry import redactor

log = structlog.get_logger()

_REMEDY = "choose the version again in the console and allow the downgrade, or start with --allow-downgrade"
#: For one call to the control plane, in seconds.
REQUEST_TIMEOUT = 15.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to run: an agent version (as `v1.2.3`) and the text of its configuration file."""

    version: str
    config: str = field(repr=False)

    @property
    def name(self) -> str:
        """Identifies the target in logs: version and hash of the configuration, which is not revealed."""
        return f"{self.version}/{hashlib.sha256(self.config.encode()).hexdigest()[:8]}"


def normalize_version(version: str) -> str:
    """`0.2`, `v0.2` and `V0.2` become `v0.2`. Raises ConfigError if it is not a version."""
    try:
        return f"v{Version(version)}"
    except InvalidVersion as error:
        raise ConfigError(f"{version!r} is not a version", remedy="write it like v0.2.0") from error


OWN_VERSION = normalize_version(__version__)


class TargetSource:
    """Fetches the target. Reuses its connection to the control plane.

    `default` is the version if the control plane specifies none (empty: the launcher's own version),
    `last_version` the one until it has answered for the first time. A version that is older than
    `last_stable` is refused, because old releases have known faults and a signature does not expire. A user
    has to ask for it, in the console or with `allow_downgrade`.
    """

    def __init__(
        self,
        source: Source,
        transport: Transport,
        clock: Clock,
        *,
        default: str,
        last_version: str = "",
        last_stable: Callable[[], str] = lambda: OWN_VERSION,
        allow_downgrade: bool = False,
    ) -> None:
        self._source, self._transport, self._clock = source, transport, clock
        self._default = normalize_version(default) if default else OWN_VERSION
        self._last_version = last_version or self._default
        self._connection: tuple[Access, str, Client] | None = None
        self._last_stable, self._allow_downgrade = last_stable, allow_downgrade
        self._redacted_text = ""
        #: Whether the control plane answered the last request.
        self.control_plane_answered = False

    async def fetch(self) -> Target:
        """Read configuration and version. Raises ConfigError, or Temporary if the source is unavailable."""
        text = await self._source.read()
        if text.text != self._redacted_text:
            for secret in secret_values(text.text, text.name):
                redactor.add(secret)
            self._redacted_text = text.text
        client = await self._connect(*load_access(text.text, text.name))
        return Target(version=await self._fetch_version(client), config=text.text)

    async def close(self) -> None:
        if self._connection:
            await self._connection[2].close()

    async def _fetch_version(self, client: Client) -> str:
        try:
            response = await client.call(
                client.piped.GetDesiredVersion, GetDesiredVersionRequest(), timeout=REQUEST_TIMEOUT
            )
        except (Temporary, Unsupported) as error:
            self.control_plane_answered = isinstance(error, Unsupported)
            log.warning("desired_version_unavailable", error=str(error), version=self._last_version)
            return self._last_version
        except (Unauthenticated, PermissionDenied, NotFound) as error:
            raise ConfigError(
                f"the control plane at {client.address} refuses this agent: {error}",
                remedy="check spec.projectID, spec.pipedID and the key, and that the agent is enabled",
            ) from error
        self.control_plane_answered = True
        version = normalize_version(response.version) if response.version else self._default
        allowed = self._allow_downgrade or response.allow_downgrade or not response.version
        if not allowed and Version(version) < Version(self._last_stable()):
            log.error("downgrade_refused", version=version, current=self._last_stable(), remedy=_REMEDY)
            return self._last_version
        self._last_version = version
        return version

    async def _connect(self, access: Access, key: str) -> Client:
        """The open client, or a new one if the configuration's control plane or key has changed."""
        if self._connection and self._connection[:2] == (access, key):
            return self._connection[2]
        redactor.add(key)
        await self.close()
        token = PipedToken(project_id=access.project_id, piped_id=access.piped_id, key=key)
        client = Client(access.api_address, token, self._transport, clock=self._clock)
        self._connection = (access, key, client)
        return client
