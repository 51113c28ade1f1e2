"""ConsoleService and ProgramService: reading and verifying the audit log of the caller's project."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import audit, audit_chain, audit_log, lists
from pipecd.controlplane.store.audit_chain import Link
from pipecd.controlplane.store.audit_log import AuditFilter
from pipecd.errors import Refused
from pipecd.json_input import decode_json
from pipecd.model.access import Labels, Resource
from pipecd.model.audit_sentence import sentence
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.audit_pb2 import (
    AuditChange,
    AuditEntry,
    ListAuditRequest,
    ListAuditResponse,
    VerifyAuditRequest,
    VerifyAuditResponse,
)

_MICROSECONDS = 1_000_000
#: Kinds whose records have names, and the field of a command or an analysis result that refers to them.
_NAMED: Mapping[str, tuple[type[Message], str]] = {
    "deployment": (Deployment, "deployment_id"),
    "application": (Application, "application_id"),
    "piped": (Piped, "piped_id"),
    "api_key": (APIKey, ""),
    "event": (Event, ""),
}

#: Whose rights decide whether a record is found by its name.
_RESOURCES: Mapping[str, Resource] = {
    "deployment": Resource.DEPLOYMENT,
    "application": Resource.APPLICATION,
    "piped": Resource.PIPED,
    "api_key": Resource.API_KEY,
    "event": Resource.EVENT,
}


async def list_entries(services: Services, caller: Caller, request: ListAuditRequest) -> ListAuditResponse:
    filters = AuditFilter(
        since=request.since * _MICROSECONDS,
        until=request.until * _MICROSECONDS,
        actor=request.actor,
        actor_kinds=request.actor_kinds,
        action=request.action,
        record_kind=request.record_kind,
        record_id=request.record_id,
        operations=request.operations,
        search=request.search,
        named=_restrictions(caller),
    )
    page = await audit_log.page(
        services.store.database,
        caller.project_id,
        filters,
        size=request.page_size,
        cursor=request.cursor,
        oldest_first=request.oldest_first,
    )
    entries = await _entries(services, caller.project_id, page.rows, with_content=request.with_content)
    return ListAuditResponse(entries=entries, next_cursor=page.cursor)


def _restrictions(caller: Caller) -> Mapping[str, Sequence[Labels] | None]:
    """Of names that are searched: a person finds only those of records that their roles let them see."""
    if not isinstance(caller, Person):
        return {}
    return {kind: caller.conditions(_RESOURCES[kind]) for kind in audit_log.NAMES}


async def verify(services: Services, caller: Caller, request: VerifyAuditRequest) -> VerifyAuditResponse:
    database, project_id = services.store.database, caller.project_id
    known = request.known_position
    if known and await audit_chain.hash_at(database, project_id, known) != request.known_hash:
        raise Refused(f"row {known} does not exist, or has another hash than the known one")
    after = None
    if request.after_position:
        after = Link(position=request.after_position, hash=request.after_hash)
    result = await audit_chain.verify(database, project_id, after)
    response = VerifyAuditResponse(
        verified_position=result.verified.position,
        verified_hash=result.verified.hash,
        head_position=result.head.position,
        head_hash=result.head.hash,
        anchor_position=result.anchor.position,
        completed=result.completed,
    )
    if broken := result.broken:
        response.broken_position, response.broken_reason = broken.position, broken.reason
        if broken.row is not None:
            (entry,) = await _entries(services, project_id, [broken.row], with_content=True)
            response.broken_entry.CopyFrom(entry)
    return response


async def _entries(
    services: Services, project_id: str, rows: Sequence[Any], *, with_content: bool
) -> Sequence[AuditEntry]:
    changes = [(_changes(row.before), _changes(row.after)) for row in rows]
    targets = [_target(row, after) for row, (_, after) in zip(rows, changes, strict=True)]
    names = await _names(services, project_id, targets)
    return [
        _entry(row, before, after, target, names, with_content)
        for row, (before, after), target in zip(rows, changes, targets, strict=True)
    ]


def _entry(
    row: Any,
    before: Mapping[str, str],
    after: Mapping[str, str],
    target: tuple[str, str],
    names: Mapping[tuple[str, str], str],
    with_content: bool,
) -> AuditEntry:
    kind, id = target
    name = names.get(target, "")
    entry = AuditEntry(
        id=row.seq,
        at=row.at,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor_name=row.actor_name,
        address=row.address,
        action=row.action,
        operation=row.operation,
        record_kind=row.record_kind,
        record_id=row.record_id,
        record_name=name,
        summary=sentence(
            row.action,
            row.operation,
            kind,
            name or id,
            before=before,
            after=after,
            changed_kind=row.record_kind,
        ),
        position=row.position or 0,
        hash=row.hash or b"",
    )
    for path in dict.fromkeys([*before, *after]):
        entry.changes.append(AuditChange(path=path, before=before.get(path), after=after.get(path)))
    if with_content:
        entry.content = audit.canonical({column: getattr(row, column) for column in audit_chain.CONTENT})
    return entry


def _changes(text: str) -> Mapping[str, str]:
    """Path → value as text. Empty if the row was damaged, which `verify` reports."""
    try:
        values = decode_json(text)
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {str(path): _text(value) for path, value in values.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _target(row: Any, after: Mapping[str, str]) -> tuple[str, str]:
    """Kind and id of the record as a reader names it: a command is about an application or an agent."""
    if row.record_kind == "command":
        for kind, (_, reference) in _NAMED.items():
            if reference and after.get(reference):
                return kind, after[reference]
    return row.record_kind, row.record_id


async def _names(
    services: Services, project_id: str, targets: Sequence[tuple[str, str]]
) -> Mapping[tuple[str, str], str]:
    names = {}
    for name, (kind, _) in _NAMED.items():
        ids = [id for target, id in targets if target == name]
        for record in await lists.by_ids(services.store, kind, ids) if ids else ():
            found: Any = record
            if found.project_id == project_id:
                names[name, found.id] = found.application_name if name == "deployment" else found.name
    return names


HANDLERS: Mapping[str, Handler] = {"ListAudit": list_entries, "VerifyAudit": verify}
