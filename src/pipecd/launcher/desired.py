"""What should run: the configuration as its source has it now, in the version the control plane asks for.

`keeper` asks again and again; nobody answering is no reason to change anything.
"""

import hashlib
from dataclasses import dataclass, field

import structlog
from packaging.version import InvalidVersion, Version

from pipecd import __version__
from pipecd.client import Client, PipedToken, Transport
from pipecd.config.piped import Access, access, piped_key, secrets
from pipecd.config.sources import Source
from pipecd.errors import ConfigError, NotFound, PermissionDenied, Temporary, Unauthenticated, Unsupported
from pipecd.schema.agent.pipeds_pb2 import GetDesiredVersionRequest
from pipecd.telemetry import redactor

log = structlog.get_logger()

ASK_TIMEOUT = 15.0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A version (as `v1.2.3`) and the text of the agent's configuration file."""

    version: str
    config: str = field(repr=False)

    @property
    def name(self) -> str:
        """Tells two wishes apart in logs, without a word of the configuration."""
        return f"{self.version}/{hashlib.sha256(self.config.encode()).hexdigest()[:8]}"


def canonical(version: str) -> str:
    """`0.2`, `v0.2` and `V0.2` are `v0.2`. Raises ConfigError for what is no version at all."""
    try:
        return f"v{Version(version)}"
    except InvalidVersion as error:
        raise ConfigError(f"{version!r} is not a version", remedy="write it like v0.2.0") from error


OWN_VERSION = canonical(__version__)


class Wishes:
    """Keeps its connection between looks. `known` is taken while the control plane does not answer."""

    def __init__(self, source: Source, transport: Transport, *, default: str, known: str = "") -> None:
        self._source, self._transport = source, transport
        self._default = canonical(default) if default else OWN_VERSION
        self._known = known or self._default
        self._connection: tuple[Access, str, Client] | None = None
        self._hidden = ""
        #: Whether the control plane answered at the last look.
        self.answered = False

    async def look(self) -> Wanted:
        """Raises ConfigError for what somebody can mend, Temporary when the source is away."""
        text = await self._source.read()
        if text.text != self._hidden:
            for secret in secrets(text.text, text.name):
                redactor.add(secret)
            self._hidden = text.text
        client = await self._client(access(text.text, text.name))
        return Wanted(version=await self._version(client), config=text.text)

    async def close(self) -> None:
        if self._connection:
            await self._connection[2].close()

    async def _version(self, client: Client) -> str:
        try:
            answer = await client.call(
                client.piped.GetDesiredVersion, GetDesiredVersionRequest(), timeout=ASK_TIMEOUT
            )
        except (Temporary, Unsupported) as error:
            self.answered = isinstance(error, Unsupported)
            log.warning("no word on the version", why=str(error), version=self._known)
            return self._known
        except (Unauthenticated, PermissionDenied, NotFound) as error:
            raise ConfigError(
                f"the control plane at {client.address} refuses this agent: {error}",
                remedy="check spec.projectID, spec.pipedID and the key, and that the agent is enabled",
            ) from error
        self.answered = True
        self._known = canonical(answer.version) if answer.version else self._default
        return self._known

    async def _client(self, wanted: Access) -> Client:
        """The open one, unless the configuration now speaks of another control plane or key."""
        key = piped_key(wanted)
        if self._connection and self._connection[:2] == (wanted, key):
            return self._connection[2]
        redactor.add(key)
        await self.close()
        token = PipedToken(project_id=wanted.project_id, piped_id=wanted.piped_id, key=key)
        client = Client(wanted.api_address, token, self._transport)
        self._connection = (wanted, key, client)
        return client
