"""The platform providers of the agent's file, decoded on first use.

Decoding loads the platform, which costs memory: an agent loads only the platforms it uses. A provider is
identified by its kind and name, as in PipeCD.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipecd.config.decode import decode
from pipecd.config.document import Document
from pipecd.config.piped import PipedSpec, PlatformProvider
from pipecd.errors import ConfigError
from pipecd.model.provider import FindProviders, NamedProvider
from pipecd.platforms.registry import load_platform


class Providers:
    def __init__(self, spec: PipedSpec) -> None:
        #: By kind and name: the key of the list in the file, the position in the list, and the provider.
        self._providers: dict[tuple[str, str], tuple[str, int, PlatformProvider]] = {}
        lists = {"platformProviders": spec.platform_providers, "cloudProviders": spec.cloud_providers}
        for key, providers in lists.items():
            for index, provider in enumerate(providers):
                self._providers.setdefault((provider.type, provider.name), (key, index, provider))
        self._decoded: dict[tuple[str, str], Any] = {}

    def config(self, kind: str, name: str) -> Any:
        """The provider's decoded `config`; None if `name` is empty. Raises ConfigError."""
        if not name:
            return None
        if (kind, name) not in self._decoded:
            self._decoded[kind, name] = self._decode(kind, name)
        return self._decoded[kind, name]

    def find(
        self, kind: str, name: str = "", *, labels: Mapping[str, str] | None = None
    ) -> Sequence[NamedProvider]:
        """See `model.provider.FindProviders`."""
        names = [name] if name else self._labelled(kind, labels or {})
        return [NamedProvider(name=found, config=self.config(kind, found)) for found in names]

    def names(self, kind: str) -> Sequence[str]:
        """Those of all providers of the kind."""
        return [provider.name for _, _, provider in self._providers.values() if provider.type == kind]

    def of_kind(self, kind: str) -> FindProviders:
        return partial(self.find, kind)

    def _labelled(self, kind: str, labels: Mapping[str, str]) -> Sequence[str]:
        return [
            provider.name
            for _, _, provider in self._providers.values()
            if provider.type == kind and labels.items() <= provider.labels.items()
        ]

    def _decode(self, kind: str, name: str) -> Any:
        if (kind, name) not in self._providers:
            raise self._missing(kind, name)
        key, index, provider = self._providers[kind, name]
        document = Document(file="the agent's configuration", kind="Piped", spec={}, lines={})
        path = ("spec", key, index, "config")
        return decode(load_platform(kind).provider, provider.config, document, path)

    def _missing(self, kind: str, name: str) -> ConfigError:
        kinds = [other for other, other_name in self._providers if other_name == name]
        what = f"this agent has no {kind} platform provider {name}"
        if kinds:
            what += f"; {name} is a {' and a '.join(kinds)} provider"
        return ConfigError(
            what,
            remedy="add it to spec.platformProviders of the agent, or change the application's provider",
        )
