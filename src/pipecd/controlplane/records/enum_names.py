"""Parses names of the schema's enum values in API requests."""

from collections.abc import Iterable, Mapping

from pipecd.errors import Refused
from pipecd.schema.model.deployment_pb2 import DeploymentStatus


def parse_statuses(names: Iterable[str]) -> list[int]:
    """The numbers of deployment statuses. Raises Refused for an unknown name."""
    return _parse_names(names, dict(DeploymentStatus.items()), "deployment status")


def _parse_names(names: Iterable[str], known: Mapping[str, int], description: str) -> list[int]:
    numbers = []
    for name in names:
        if name not in known:
            raise Refused(f"{name} is not a valid {description}", remedy=f"use one of {', '.join(known)}")
        numbers.append(int(known[name]))
    return numbers
