"""The resources of an application's live state, with their health. For platforms and `piped.observe`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum


class Health(IntEnum):
    """The numbers are the wire's; UNHEALTHY is the wire's OTHER."""

    UNKNOWN = 0
    HEALTHY = 1
    UNHEALTHY = 2


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource on the platform. Times are epoch seconds, 0 if unknown."""

    id: str
    kind: str
    name: str
    #: Group and version of `kind`, and the namespace; empty on platforms without them.
    api_version: str = ""
    namespace: str = ""
    #: Ids of the resources that it belongs to.
    parents: Sequence[str] = ()
    #: Ids of other resources that stand above it, such as the service that routes requests to it.
    related: Sequence[str] = ()
    health: Health = Health.UNKNOWN
    health_reason: str = ""
    created_at: int = 0
    updated_at: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


def aggregate_health(resources: Iterable[Resource]) -> Health:
    """The application's health: that of its worst resource, UNKNOWN without resources."""
    states = {resource.health for resource in resources}
    if Health.UNHEALTHY in states:
        return Health.UNHEALTHY
    return Health.HEALTHY if states == {Health.HEALTHY} else Health.UNKNOWN
