"""Names of the schema's enums that programs write, and what is said of one that there is not."""

from collections.abc import Iterable, Mapping

from pipecd.errors import Refused
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import ApplicationKind


def kinds(names: Iterable[str]) -> list[int]:
    """The numbers of kinds of applications. Raises Refused."""
    return _numbers(names, dict(ApplicationKind.items()), "kind of application")


def statuses(names: Iterable[str]) -> list[int]:
    """The numbers of statuses of deployments. Raises Refused."""
    return _numbers(names, dict(DeploymentStatus.items()), "status of a deployment")


def _numbers(names: Iterable[str], known: Mapping[str, int], what: str) -> list[int]:
    found = []
    for name in names:
        if name not in known:
            raise Refused(f"{name} is no {what}", remedy=f"use one of {', '.join(known)}")
        found.append(int(known[name]))
    return found
