"""The platform providers of the agent's file, decoded on first use.

Decoding loads the platform, which costs memory: an agent loads only the platforms it uses.
"""

from collections.abc import Mapping
from typing import Any

from pipecd.config.decode import decode
from pipecd.config.document import Document
from pipecd.config.piped import PipedSpec
from pipecd.errors import ConfigError
from pipecd.platforms import load_platform


class Providers:
    def __init__(self, spec: PipedSpec) -> None:
        self._spec = {provider.name: (index, provider) for index, provider in enumerate(spec.providers)}
        self._decoded: dict[str, Any] = {}

    def config(self, name: str) -> Any:
        """The provider's decoded `config`; None if `name` is empty. Raises ConfigError."""
        if not name:
            return None
        if name not in self._decoded:
            self._decoded[name] = self._decode(name)
        return self._decoded[name]

    def _decode(self, name: str) -> Any:
        if name not in self._spec:
            raise ConfigError(
                f"this agent has no platform provider {name}",
                remedy="add it to spec.platformProviders of the agent, or change the application's provider",
            )
        index, provider = self._spec[name]
        lines: Mapping[tuple[str | int, ...], int] = {}
        document = Document(file="the agent's configuration", kind="Piped", spec={}, lines=lines)
        path = ("spec", "platformProviders", index, "config")
        return decode(load_platform(provider.type).provider, provider.config, document, path)
