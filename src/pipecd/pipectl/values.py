"""Values that flags take: labels, lists, statuses, kinds."""

from collections.abc import Iterable, Mapping

import click

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import ApplicationKind

_PREFIX = "DEPLOYMENT_"
#: A deployment in one of these does not change any more.
ENDED = (
    DeploymentStatus.DEPLOYMENT_SUCCESS,
    DeploymentStatus.DEPLOYMENT_FAILURE,
    DeploymentStatus.DEPLOYMENT_CANCELLED,
)
KINDS = click.Choice(list(ApplicationKind.keys()))


def pairs(texts: Iterable[str], sign: str, flag: str) -> Mapping[str, str]:
    """`a=1,b=2` or given several times → a mapping. Raises click's UsageError."""
    found = {}
    for word in words(texts):
        key, between, value = word.partition(sign)
        if not between or not key:
            raise click.UsageError(f"{flag}: {word!r} must be written as key{sign}value")
        found[key.strip()] = value.strip()
    return found


def words(texts: Iterable[str]) -> list[str]:
    """`a,b` or given several times → a list."""
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def statuses(texts: Iterable[str], flag: str) -> list[DeploymentStatus.ValueType]:
    """Names with or without their prefix, such as SUCCESS. Raises click's UsageError."""
    found = []
    for word in words(texts):
        name = word.upper() if word.upper().startswith(_PREFIX) else f"{_PREFIX}{word.upper()}"
        if name not in list(DeploymentStatus.keys()):
            known = ", ".join(one.removeprefix(_PREFIX) for one in DeploymentStatus.keys())  # noqa: SIM118
            raise click.UsageError(f"{flag}: {word} is no status of a deployment; use one of {known}")
        found.append(DeploymentStatus.Value(name))
    return found


def status_name(status: DeploymentStatus.ValueType) -> str:
    return DeploymentStatus.Name(status).removeprefix(_PREFIX)
