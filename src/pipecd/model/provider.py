"""How a platform finds the agent's platform providers, such as the clusters that a stage deploys to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class NamedProvider:
    """`config` is decoded by the platform."""

    name: str
    config: Any


class FindProviders(Protocol):
    """Finds platform providers of one kind by their name, or by their labels if `name` is empty.

    By name, the result is that provider; raises `ConfigError` if the agent has none. By labels, it is every
    provider that has all of `labels`, in the order of the agent's file; it may be empty.
    """

    def __call__(
        self, name: str = "", *, labels: Mapping[str, str] | None = None
    ) -> Sequence[NamedProvider]: ...
