"""The audit log: one row for each write of a record, in the transaction of the write (invariant 18).

A row shows who did what, when and from where, and lists the fields that changed, before and after.
Credentials are masked by the schema (`store.secret_fields`), not by the callers. Rows are never changed.
`store.audit_chain` stores them, `store.audit_log` reads them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pipecd.controlplane.store.secret_fields import secret_fields
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

#: Lists whose items have names, and the field with the name: a removed item does not change the others, and a
#: row says which one was changed.
_NAMED_ITEMS: Mapping[str, str] = {
    "model.Project.rbac_roles": "name",
    "model.Project.user_groups": "sso_group",
    "model.Project.receivers": "name",
}

#: The columns of a row that say what happened.
Row = dict[str, str | int]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was changed: the record `id` of a kind. `project_id` is empty if it belongs to no project."""

    kind: str
    id: str
    project_id: str


def describe(
    by: Actor,
    at: int,
    operation: str,
    record: Subject,
    before: Mapping[str, object],
    after: Mapping[str, object],
) -> Row:
    """The row of one change, for `audit_chain.append` in the transaction of the change.

    `at` is in epoch microseconds; `operation` is create, update, delete or refuse.
    """
    return {
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
        "before": canonical(before),
        "after": canonical(after),
    }


def changed_fields(before: Message, after: Message) -> tuple[dict[str, object], dict[str, object]]:
    """The fields that differ, as path → value, before and after; a field that is not set is absent.

    Paths look like `stages[0].status`, `labels[env]` and, for lists whose items have names,
    `rbac_roles[operator].name`. Both messages have the same type. Bounded in size
    and time; what does not fit is replaced by a note under `LEFT_OUT`.
    """
    differences = _Differences()
    try:
        _compare_messages(differences, before, after, "")
    except _TooMany:
        for side in (differences.before, differences.after):
            side[LEFT_OUT] = "further fields may have changed"
    return differences.before, differences.after


#: Made once: it costs as much as encoding a row.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(values: Mapping[str, object]) -> str:
    """The same text for the same values, so that it can be hashed."""
    return _ENCODER.encode(values)


class _TooMany(Exception):
    """The differences do not fit into a row, or comparing takes too long."""


class _Differences:
    """Path → value, before and after. Raises _TooMany when a limit is reached."""

    def __init__(self) -> None:
        self.before: dict[str, object] = {}
        self.after: dict[str, object] = {}
        self._size_before = self._size_after = self._compared = 0

    def count(self) -> None:
        """Call it for each comparison."""
        self._compared += 1
        if self._compared > MAX_COMPARED:
            raise _TooMany

    def add(self, path: str, before: object, after: object) -> None:
        """None stands for a value that is not set."""
        if self._size_before >= MAX_TOTAL_LENGTH or self._size_after >= MAX_TOTAL_LENGTH:
            raise _TooMany
        if before is not None:
            self.before[path] = before
            self._size_before += len(path) + len(str(before))
        if after is not None:
            self.after[path] = after
            self._size_after += len(path) + len(str(after))

    def add_masked(self, path: str, before: object, after: object) -> None:
        self.add(path, None if before is None else MASK, None if after is None else MASK)


def _compare_messages(differences: _Differences, before: Message, after: Message, path: str) -> None:
    old = {field.number: value for field, value in before.ListFields()}
    new = {field.number: value for field, value in after.ListFields()}
    for number in sorted(old.keys() | new.keys()):
        differences.count()
        was, is_ = old.get(number), new.get(number)
        if was == is_:
            continue
        field = _fields(after.DESCRIPTOR)[number]
        name = f"{path}.{field.name}" if path else field.name
        if number in secret_fields(after.DESCRIPTOR):
            differences.add_masked(name, was, is_)
        elif _is_map(field):
            _compare_maps(differences, field, was or {}, is_ or {}, name)
        elif field.is_repeated:
            _compare_lists(differences, field, was or (), is_ or (), name)
        else:
            _compare_values(differences, field, was, is_, name)


def _compare_values(
    differences: _Differences, field: FieldDescriptor, before: Any, after: Any, path: str
) -> None:
    """Two values of a field that differ; None stands for one that is not set."""
    if not field.message_type:
        differences.add(path, _format(field, before), _format(field, after))
        return
    present = after if after is not None else before
    if before is None or after is None:
        # Also recorded if no field of the sub-message is set.
        differences.add(path, "" if before is not None else None, "" if after is not None else None)
    empty = type(present)()
    _compare_messages(differences, before or empty, after or empty, path)


def _compare_maps(
    differences: _Differences, field: FieldDescriptor, before: Any, after: Any, path: str
) -> None:
    assert field.message_type
    value_field = _fields(field.message_type)[2]
    for key in {**dict.fromkeys(before), **dict.fromkeys(after)}:
        differences.count()
        was, is_ = before.get(key), after.get(key)
        if was == is_:
            continue
        name = f"{path}[{_cut(str(key))}]"
        if not value_field.message_type and _SECRET_KEY.search(str(key)[:MAX_VALUE_LENGTH]):
            differences.add_masked(name, was, is_)
        else:
            _compare_values(differences, value_field, was, is_, name)


def _compare_lists(
    differences: _Differences, field: FieldDescriptor, before: Any, after: Any, path: str
) -> None:
    old, new = _items(field, before), _items(field, after)
    if old is None or new is None:
        old, new = dict(enumerate(before)), dict(enumerate(after))
    for key in {**old, **new}:
        differences.count()
        was, is_ = old.get(key), new.get(key)
        if was != is_:
            _compare_values(differences, field, was, is_, f"{path}[{_cut(str(key))}]")


def _items(field: FieldDescriptor, items: Any) -> dict[str | int, Any] | None:
    """By name, if they have names that differ."""
    name = _NAMED_ITEMS.get(field.full_name)
    if name is None:
        return None
    named: dict[str | int, Any] = {getattr(item, name): item for item in items}
    return named if len(named) == len(items) else None


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
