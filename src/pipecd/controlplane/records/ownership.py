"""What belongs to the caller's project: looked up, and refused where it is another's.

Called by everything that serves programs and people. (What belongs to an agent: `rpc.piped.owned`.)
"""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Caller, Program
from pipecd.controlplane.services import Plane
from pipecd.errors import PermissionDenied, PipecdError, Refused

M = TypeVar("M", bound=Message)


async def get(
    plane: Plane, caller: Caller, kind: type[M], id: str, foreign: type[PipecdError] | None = None
) -> M:
    """The record. Raises NotFound, or `foreign` when it is another project's."""
    found = (await plane.store.get(kind, id)).message
    check(caller, found, foreign)
    return found


async def change(
    plane: Plane,
    caller: Caller,
    kind: type[M],
    id: str,
    alter: Callable[[M], None],
    foreign: type[PipecdError] | None = None,
) -> M:
    """The record after `alter`, written by compare-and-set and dated."""

    def checked(record: Any) -> None:
        check(caller, record, foreign)
        alter(record)
        record.updated_at = plane.now()

    return (await plane.store.update(kind, id, checked)).message


def check(caller: Caller, found: Any, foreign: type[PipecdError] | None = None) -> None:
    """Programs of PipeCD know INVALID_ARGUMENT for most of these, people's calls PERMISSION_DENIED."""
    if found.project_id != caller.project_id:
        error = foreign or (Refused if isinstance(caller, Program) else PermissionDenied)
        raise error(
            f"{found.DESCRIPTOR.name.lower()} {found.id} does not belong to project {caller.project_id}"
        )
