"""The audit log: one row for each write of a record, in the transaction of the write (invariant 18).

A row says who did what, when and from where, and lists the fields that changed, before and after. Credentials
are masked by the schema (`store.secret_fields`), not by the callers. Rows are never changed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from pipecd.controlplane.store.secret_fields import secret_fields
from pipecd.controlplane.store.tables import audit
from pipecd.model.actor import Actor
from pipecd.secrets import MASK

#: Maximum length of one value, in characters; longer ones are cut.
MAX_VALUE_LENGTH = 1_000
#: Maximum length of all values of a row before, and of all after, in characters. Further fields are left out.
MAX_TOTAL_LENGTH = 16_000
#: Fields and list items that are compared for one row. Bounds the time that a large record takes.
MAX_COMPARED = 5_000
#: Key of the note that stands for the fields that were left out.
LEFT_OUT = "…"

#: Keys of free-form maps, such as a stage's metadata, whose values are masked.
_SECRET_KEY = re.compile(r"passw|secret|token|credential|private.?key|api.?key", re.IGNORECASE)
#: User name and password of a URL. Every match ends before the next `/`, so the search takes linear time.
_URL_LOGIN = re.compile(r"://[^/@\s]+@")
_CUT_URL = re.compile(r"://[^/@\s]*$")

_INSERT = sa.insert(audit).inline()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was changed: the record `id` of a kind. `project_id` is empty if it belongs to no project."""

    kind: str
    id: str
    project_id: str


async def add(
    connection: AsyncConnection,
    by: Actor,
    at: int,
    operation: str,
    record: Subject,
    before: Mapping[str, object],
    after: Mapping[str, object],
) -> None:
    """Add a row in the transaction of the change that it describes.

    `at` is in epoch microseconds; `operation` is create, update or delete.
    """
    row = {
        "at": at,
        "project_id": record.project_id,
        "actor_kind": by.kind.value,
        "actor_id": by.id,
        "actor_name": by.name,
        "actor_project_id": by.project_id,
        "address": by.address,
        "action": by.action,
        "operation": operation,
        "record_kind": record.kind,
        "record_id": record.id,
        "before": _canonical(before),
        "after": _canonical(after),
    }
    await connection.execute(_INSERT, row)


def changed_fields(before: Message, after: Message) -> tuple[dict[str, object], dict[str, object]]:
    """The fields that differ, as path → value, before and after; a field that is not set is absent.

    Paths look like `stages[0].status` and `labels[env]`. Both messages have the same type. Bounded in size
    and time; what does not fit is replaced by a note under `LEFT_OUT`.
    """
    return _bounded(_differences(before, after, ""))


def _canonical(values: Mapping[str, object]) -> str:
    """The same text for the same values, so that it can be hashed."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


#: A path with its values before and after; None if it is not set. A path of None stands for a comparison
#: without a difference.
_Difference = tuple[str | None, object, object]


def _bounded(differences: Iterator[_Difference]) -> tuple[dict[str, object], dict[str, object]]:
    sides: tuple[dict[str, object], dict[str, object]] = ({}, {})
    sizes = [0, 0]
    for compared, (path, *values) in enumerate(differences):
        if compared >= MAX_COMPARED or (path is not None and max(sizes) >= MAX_TOTAL_LENGTH):
            for side in sides:
                side[LEFT_OUT] = "further fields may have changed"
            break
        if path is None:
            continue
        for number, value in enumerate(values):
            if value is not None:
                sides[number][path] = value
                sizes[number] += len(path) + len(str(value))
    return sides


def _differences(before: Message, after: Message, path: str) -> Iterator[_Difference]:
    old = {field.number: value for field, value in before.ListFields()}
    new = {field.number: value for field, value in after.ListFields()}
    for number in sorted(old.keys() | new.keys()):
        yield None, None, None
        was, is_ = old.get(number), new.get(number)
        if was == is_:
            continue
        field = _fields(after.DESCRIPTOR)[number]
        name = f"{path}.{field.name}" if path else field.name
        if number in secret_fields(after.DESCRIPTOR):
            yield name, None if was is None else MASK, None if is_ is None else MASK
        elif _is_map(field):
            yield from _map_differences(field, was or {}, is_ or {}, name)
        elif field.is_repeated:
            yield from _list_differences(field, was or (), is_ or (), name)
        elif field.message_type:
            yield from _message_differences(was, is_, name)
        else:
            yield name, _format(field, was), _format(field, is_)


def _message_differences(before: Message | None, after: Message | None, path: str) -> Iterator[_Difference]:
    present = after if after is not None else before
    assert present is not None
    if before is None or after is None:
        # Also recorded if no field of the sub-message is set.
        yield path, "" if before is not None else None, "" if after is not None else None
    empty = type(present)()
    yield from _differences(before or empty, after or empty, path)


def _map_differences(field: FieldDescriptor, before: Any, after: Any, path: str) -> Iterator[_Difference]:
    assert field.message_type
    value_field = _fields(field.message_type)[2]
    for key in {**dict.fromkeys(before), **dict.fromkeys(after)}:
        yield None, None, None
        was = before.get(key)
        is_ = after.get(key)
        name = f"{path}[{_cut(str(key))}]"
        if was == is_:
            continue
        if value_field.message_type:
            yield from _message_differences(was, is_, name)
        elif _SECRET_KEY.search(str(key)[:MAX_VALUE_LENGTH]):
            yield name, None if was is None else MASK, None if is_ is None else MASK
        else:
            yield name, _format(value_field, was), _format(value_field, is_)


def _list_differences(field: FieldDescriptor, before: Any, after: Any, path: str) -> Iterator[_Difference]:
    for index in range(max(len(before), len(after))):
        yield None, None, None
        was = before[index] if index < len(before) else None
        is_ = after[index] if index < len(after) else None
        name = f"{path}[{index}]"
        if was == is_:
            continue
        if field.message_type:
            yield from _message_differences(was, is_, name)
        else:
            yield name, _format(field, was), _format(field, is_)


def _format(field: FieldDescriptor, value: Any) -> object:
    """A string, an integer or a boolean: other JSON values have no canonical form."""
    if value is None:
        return None
    if field.enum_type:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else int(value)
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value if isinstance(value, int) else str(value)


def _cut(text: str) -> str:
    """`text` without logins of URLs, and cut to `MAX_VALUE_LENGTH`."""
    if len(text) <= MAX_VALUE_LENGTH:
        return _URL_LOGIN.sub("://", text) if "@" in text else text
    start = _CUT_URL.sub("", _URL_LOGIN.sub("://", text[:MAX_VALUE_LENGTH]))
    return f"{start}… ({len(text)} characters)"


@cache
def _fields(descriptor: Descriptor) -> Mapping[int, FieldDescriptor]:
    """By number; in a map's entry, 1 is the key and 2 the value."""
    return {field.number: field for field in descriptor.fields}


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)
