"""What runs of an application, thing by thing, with its health. For platforms and `piped.live`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum


class Health(IntEnum):
    """Numbers are the wire's; the wire's OTHER is what we call unhealthy."""

    UNKNOWN = 0
    HEALTHY = 1
    UNHEALTHY = 2


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One thing on the platform. `why` says more about its health; times are epoch seconds, 0 unknown."""

    id: str
    kind: str
    name: str
    parents: Sequence[str] = ()
    health: Health = Health.UNKNOWN
    why: str = ""
    created_at: int = 0
    updated_at: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)


def health_of(resources: Iterable[Resource]) -> Health:
    """The application's: as bad as its worst thing. Without any it is unknown."""
    found = {one.health for one in resources}
    if Health.UNHEALTHY in found:
        return Health.UNHEALTHY
    return Health.HEALTHY if found == {Health.HEALTHY} else Health.UNKNOWN
