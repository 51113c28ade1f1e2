"""Parses names of the schema's enum values in API requests."""

from collections.abc import Iterable

from pipecd.errors import Refused
from pipecd.schema.model.deployment_pb2 import DeploymentStatus


def parse_statuses(names: Iterable[str]) -> list[int]:
    """The numbers of deployment statuses. Raises Refused for an unknown name."""
    known = dict(DeploymentStatus.items())
    numbers = []
    for name in names:
        if name not in known:
            raise Refused(f"{name} is not a valid deployment status", remedy=f"use one of {', '.join(known)}")
        numbers.append(int(known[name]))
    return numbers
