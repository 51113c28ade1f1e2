"""The repositories in the agent's configuration."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Repository:
    id: str
    remote: str
    branch: str


Repositories = Mapping[str, Repository]
