"""Reads and changes records of the caller's project, and rejects access to those of other projects.

Called by all RPCs for users and API clients. For RPCs of agents see `rpc.piped.owned`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Caller, Program
from pipecd.controlplane.services import Services
from pipecd.errors import PermissionDenied, PipecdError, Refused

M = TypeVar("M", bound=Message)


async def get(
    services: Services, caller: Caller, kind: type[M], id: str, foreign_error: type[PipecdError] | None = None
) -> M:
    """The record. Raises NotFound, or `foreign_error` if it belongs to another project."""
    record = (await services.store.get(kind, id)).message
    check(caller, record, foreign_error)
    return record


async def change(
    services: Services,
    caller: Caller,
    kind: type[M],
    id: str,
    alter: Callable[[M], None],
    foreign_error: type[PipecdError] | None = None,
) -> M:
    """Apply `alter` to the record by compare-and-set, set `updated_at`, and return the new record."""

    def checked(record: Any) -> None:
        check(caller, record, foreign_error)
        alter(record)
        record.updated_at = services.now()

    return (await services.store.update(kind, id, checked, by=caller.actor)).message


def check(caller: Caller, record: Any, foreign_error: type[PipecdError] | None = None) -> None:
    """Raises an error if `record` belongs to another project.

    The default is PipeCD's: INVALID_ARGUMENT for API clients, PERMISSION_DENIED for users.
    """
    if record.project_id != caller.project_id:
        error = foreign_error or (Refused if isinstance(caller, Program) else PermissionDenied)
        raise error(
            f"{record.DESCRIPTOR.name.lower()} {record.id} does not belong to project {caller.project_id}"
        )
