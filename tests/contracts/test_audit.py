"""Invariant 18: every write of a record leaves a row in the audit log, in the same transaction."""

import asyncio
import importlib
import json
import pkgutil
import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass as message_class
from hypothesis import given
from hypothesis import strategies as st

import pipecd.schema
from pipecd.controlplane.store import Store, audit, tables
from pipecd.controlplane.store.audit import LEFT_OUT, MAX_TOTAL_LENGTH, MAX_VALUE_LENGTH, changed_fields
from pipecd.controlplane.store.kinds import KINDS, STATISTICS, SUGGESTIONS
from pipecd.controlplane.store.secret_fields import REDACTED, redact, secret_fields
from pipecd.errors import AlreadyExists, Conflict, NotFound
from pipecd.model.actor import Actor, ActorKind
from pipecd.schema.agent.applications_pb2 import ReportUnregisteredApplicationConfigurationsRequest
from pipecd.schema.model.access_pb2 import ProjectRBACRole
from pipecd.schema.model.application_pb2 import Application, ApplicationInfo
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.secrets import MASK

CI = Actor(
    kind=ActorKind.API_KEY,
    id="key-1",
    name="ci",
    action="/service/Method",
    project_id="shop",
    address="192.0.2.7",
)


async def rows(store: Store) -> Sequence[Any]:
    return await store.database.rows(sa.select(tables.audit).order_by(tables.audit.c.seq))


async def execute(store: Store, statement: sa.Executable) -> None:
    await store.database.write(lambda connection: connection.execute(statement))


async def count(store: Store) -> int:
    return len(await rows(store))


async def test_a_row_says_who_did_what_when_and_from_where(store: Store) -> None:
    await store.create(Application(id="app", name="shop", project_id="shop", piped_id="home"), by=CI)

    def rename(record: Application) -> None:
        record.name = "store"
        record.labels["env"] = "prod"

    await store.update(Application, "app", rename, by=CI)
    created, updated = await rows(store)
    assert (updated.actor_kind, updated.actor_id, updated.actor_name) == ("api_key", "key-1", "ci")
    assert (updated.actor_project_id, updated.address) == ("shop", "192.0.2.7")
    assert (updated.action, updated.operation) == ("/service/Method", "update")
    assert (updated.record_kind, updated.record_id, updated.project_id) == ("application", "app", "shop")
    assert json.loads(updated.before) == {"name": "shop"}
    assert json.loads(updated.after) == {"name": "store", "labels[env]": "prod"}
    assert (created.operation, created.before) == ("create", "{}")
    assert json.loads(created.after) == {
        "id": "app",
        "name": "shop",
        "project_id": "shop",
        "piped_id": "home",
    }
    assert created.seq < updated.seq and created.at <= updated.at
    assert abs(created.at / 1_000_000 - time.time()) < 60


async def test_a_write_that_is_rolled_back_leaves_no_row(store: Store) -> None:
    await store.create(Piped(id="p", project_id="shop", name="p"), by=CI)

    def refuse(record: Piped) -> None:
        record.name = "changed"
        raise Conflict("no")

    with pytest.raises(Conflict):
        await store.update(Piped, "p", refuse, by=CI)
    with pytest.raises(AlreadyExists):
        await store.create(Piped(id="p", project_id="shop", name="again"), by=CI)
    with pytest.raises(NotFound):
        await store.update(Piped, "missing", lambda record: None, by=CI)
    assert await count(store) == 1


async def test_a_row_that_cannot_be_written_undoes_the_change(store: Store) -> None:
    """The row is in the transaction of the change, so neither is stored without the other."""
    await store.create(Piped(id="p", project_id="shop", name="p"), by=CI)
    await execute(store, sa.text("ALTER TABLE audit RENAME TO hidden"))
    with pytest.raises(Exception):  # noqa: B017 the driver's error
        await store.update(Piped, "p", lambda record: setattr(record, "desc", "changed"), by=CI)
    with pytest.raises(Exception):  # noqa: B017
        await store.create(Piped(id="q", project_id="shop", name="q"), by=CI)
    await execute(store, sa.text("ALTER TABLE hidden RENAME TO audit"))
    assert (await store.get(Piped, "p")).message.desc == ""
    with pytest.raises(NotFound):
        await store.get(Piped, "q")


async def test_a_change_that_modifies_nothing_leaves_no_row(store: Store) -> None:
    await store.create(Piped(id="p", project_id="shop", name="p"), by=CI)
    await store.update(Piped, "p", lambda record: setattr(record, "name", "p"), by=CI)
    assert await count(store) == 1


async def test_concurrent_changes_leave_one_row_each(store: Store) -> None:
    await store.create(Piped(id="p", project_id="shop", name="p"), by=CI)

    def append(record: Piped) -> None:
        record.desc += "x"

    await asyncio.gather(*(store.update(Piped, "p", append, by=CI) for _ in range(20)))
    updates = [row for row in await rows(store) if row.operation == "update"]
    changes = [(json.loads(row.before).get("desc", ""), json.loads(row.after)["desc"]) for row in updates]
    assert sorted(changes) == [("x" * number, "x" * (number + 1)) for number in range(20)]


async def test_a_committed_write_of_a_cancelled_caller_leaves_one_row(store: Store) -> None:
    rng = random.Random(5)
    started = time.monotonic()
    await store.create(Piped(id="p", project_id="shop", name="p"), by=CI)
    duration = time.monotonic() - started
    # In one statement: a write of a cancelled caller may be committed at any time.
    query = sa.select(
        tables.pipeds.c.version,
        sa.select(sa.func.count()).select_from(tables.audit).scalar_subquery().label("rows"),
    )
    version = turn = 0
    # Until at least three writes were committed, and three were not.
    while version < 4 or turn - version < 3:
        caller = asyncio.create_task(
            store.update(Piped, "p", lambda piped, turn=turn: setattr(piped, "desc", f"{turn}"), by=CI)  # type: ignore[misc]
        )
        if turn % 4:
            await asyncio.sleep(rng.random() * 2 * duration)
        caller.cancel()
        await asyncio.wait([caller])
        turn += 1
        ((version, rows),) = await store.database.rows(query)
        assert rows == version


async def test_measurements_leave_no_row_but_suggestions_do(store: Store) -> None:
    """Statistics and presence replace each other every minute and change nothing."""
    await store.put_metadata(STATISTICS, "p", "shop", b"up 1\n", by=CI)
    assert await count(store) == 0
    for name in ("a", "a", "b"):
        found = ReportUnregisteredApplicationConfigurationsRequest(applications=[ApplicationInfo(name=name)])
        await store.put_metadata(SUGGESTIONS, "p", "shop", found.SerializeToString(), by=CI)
    changes = [(row.operation, json.loads(row.before), json.loads(row.after)) for row in await rows(store)]
    assert changes[0] == ("create", {}, {"applications[0]": "", "applications[0].name": "a"})
    assert changes[1] == ("update", {"applications[0].name": "a"}, {"applications[0].name": "b"})
    assert len(changes) == 2


async def test_a_change_outside_the_database_is_recorded(store: Store) -> None:
    record = audit.Subject(kind="shared_object", id="app/plan", project_id="shop")
    await store.record_action("update", record, {"bytes": 3}, by=CI)
    (row,) = await rows(store)
    assert (row.record_kind, row.record_id, row.after) == ("shared_object", "app/plan", '{"bytes":3}')


@pytest.mark.parametrize("column", ["seq", "actor_id", "before", "after", "at", "address"])
async def test_a_row_cannot_be_changed(store: Store, column: str) -> None:
    await store.create(Piped(id="p", project_id="shop", name="p"), by=CI)
    value = 7 if column in ("seq", "at") else "forged"
    with pytest.raises(Exception, match="cannot be changed"):
        await execute(store, sa.update(tables.audit).values({column: value}))
    # A hash chain is added later, to rows that exist.


def test_changes_inside_lists_and_sub_messages_are_named() -> None:
    before = Deployment(
        stages=[PipelineStage(id="a", status=StageStatus.STAGE_RUNNING), PipelineStage(id="b")]
    )
    after = Deployment()
    after.CopyFrom(before)
    after.stages[0].status = StageStatus.STAGE_SUCCESS
    after.stages[0].requires.append("x")
    del after.stages[1]
    after.metadata_v2.shared.keyValues["key"] = "1"
    assert changed_fields(before, after) == (
        {"stages[0].status": "STAGE_RUNNING", "stages[1]": "", "stages[1].id": "b"},
        {
            "stages[0].status": "STAGE_SUCCESS",
            "stages[0].requires[0]": "x",
            "metadata_v2": "",
            "metadata_v2.shared": "",
            "metadata_v2.shared.keyValues[key]": "1",
        },
    )


def test_items_with_names_are_compared_by_name() -> None:
    """A removed one does not change those after it; two of the same name are compared by their places."""
    before = Project(rbac_roles=[ProjectRBACRole(name="ops"), ProjectRBACRole(name="dev")])
    after = Project(rbac_roles=[ProjectRBACRole(name="dev", is_builtin=True)])
    after.user_groups.add(sso_group="org/a", role="dev")
    after.receivers.add(name="chat")
    assert changed_fields(before, after) == (
        {"rbac_roles[ops]": "", "rbac_roles[ops].name": "ops"},
        {
            "rbac_roles[dev].is_builtin": True,
            "user_groups[org/a]": "",
            "user_groups[org/a].sso_group": "org/a",
            "user_groups[org/a].role": "dev",
            "receivers[chat]": "",
            "receivers[chat].name": "chat",
        },
    )
    twice = Project(rbac_roles=[ProjectRBACRole(name="dev"), ProjectRBACRole(name="dev")])
    assert changed_fields(Project(), twice)[1] == {
        "rbac_roles[0]": "",
        "rbac_roles[0].name": "dev",
        "rbac_roles[1]": "",
        "rbac_roles[1].name": "dev",
    }


def test_an_unknown_enum_number_and_a_cleared_field_are_recorded() -> None:
    before = Command(status=CommandStatus.COMMAND_FAILED, commander="me")
    after = Command(status=99)  # type: ignore[arg-type]
    assert changed_fields(before, after) == (
        {"commander": "me", "status": "COMMAND_FAILED"},
        {"status": 99},
    )


def test_large_values_and_large_changes_are_cut() -> None:
    after = Piped(desc="x" * 5_000, config="y" * 10_000_000)
    _, values = changed_fields(Piped(), after)
    assert values["desc"] == "x" * MAX_VALUE_LENGTH + "… (5000 characters)"
    many = Deployment(metadata={f"key{number}": "v" * 500 for number in range(100_000)})
    _, values = changed_fields(Deployment(), many)
    assert values[LEFT_OUT]
    assert len(json.dumps(values)) < MAX_TOTAL_LENGTH + 3 * MAX_VALUE_LENGTH


def test_a_huge_record_is_compared_in_bounded_time() -> None:
    before = Deployment(metadata={f"key{number}": "v" for number in range(100_000)})
    after = Deployment()
    after.CopyFrom(before)
    after.metadata["key99999"] = "changed"
    started = time.process_time()
    changed_fields(before, after)
    assert time.process_time() - started < 0.5, "the event loop must not be blocked"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://user:pass@git.example/shop", "https://git.example/shop"),
        ("https://git.example/shop", "https://git.example/shop"),
        ("two: https://a:b@c/ and ssh://d@e/", "two: https://c/ and ssh://e/"),
    ],
)
def test_logins_of_urls_are_removed(value: str, expected: str) -> None:
    assert changed_fields(Piped(), Piped(desc=value))[1] == {"desc": expected}


def test_a_login_at_the_cut_is_removed() -> None:
    text = " " * (MAX_VALUE_LENGTH - 20) + "https://user:hush-hush-hush@git.example/"
    assert "hush" not in str(changed_fields(Piped(), Piped(desc=text)))


@pytest.mark.parametrize("key", ["DB_PASSWORD", "api-token", "clientSecret", "privateKey"])
def test_values_with_a_secret_name_are_masked(key: str) -> None:
    before, after = changed_fields(Command(metadata={key: "old"}), Command(metadata={key: "new", "n": "1"}))
    assert before == {f"metadata[{key}]": MASK}
    assert after == {f"metadata[{key}]": MASK, "metadata[n]": "1"}


#: Words in the name of a field that may hold a credential.
SECRET_WORDS = re.compile(r"passw|secret|token|hash|(^|_)keys?($|_)|credential|private|plaintext|decrypted")
#: Fields with such a name that hold no credential.
HARMLESS = re.compile(
    r"""
    .*commit_hash(es)? | model\.Commit\.hash            # of Git
    | pipecd\.v1\.WebhookReceiver\.signature_key   # the name of a header
    | .*_claim_key | .*\.token_endpoint | .*\.event_key
    | .*\.secret_encryption | .*\.public_key
    | .*(Object|Metadata)Request\.key              # the name of an object
    | .*\.DecryptSecretRequest\.secret             # encrypted
    | pipecd\.v1\.Rules\..*
    """,
    re.VERBOSE,
)


def all_messages() -> list[Descriptor]:
    """Every message type of the schema."""

    def nested(descriptor: Descriptor) -> Iterator[Descriptor]:
        if not descriptor.GetOptions().map_entry:
            yield descriptor
            for inner in descriptor.nested_types:
                yield from nested(inner)

    packages = pkgutil.walk_packages(pipecd.schema.__path__, "pipecd.schema.")
    modules = [importlib.import_module(package.name) for package in packages if package.name.endswith("_pb2")]
    tops = [top for module in modules for top in module.DESCRIPTOR.message_types_by_name.values()]
    return [descriptor for top in tops for descriptor in nested(top)]


ALL_MESSAGES = all_messages()


def test_every_field_with_the_name_of_a_credential_is_marked_or_known_to_be_harmless() -> None:
    assert len(ALL_MESSAGES) > 200
    unmarked = [
        field.full_name
        for descriptor in ALL_MESSAGES
        for field in descriptor.fields
        if SECRET_WORDS.search(field.name)
        and field.type == FieldDescriptor.TYPE_STRING
        and field.number not in secret_fields(descriptor)
        and not HARMLESS.fullmatch(field.full_name)
    ]
    assert unmarked == [], "add (pipecd.v1.secret) to the field, or add it to HARMLESS"


def fill(message: Any, canary: str, depth: int = 0) -> Any:
    """Set every field of `message`, credentials to `canary`."""
    for field in message.DESCRIPTOR.fields:
        is_map = bool(field.message_type and field.message_type.GetOptions().map_entry)
        value_field = field.message_type.fields_by_name["value"] if is_map else field
        if is_map:
            if value_field.message_type:
                fill(getattr(message, field.name)["k"], canary, depth + 1)
            elif value_field.type == FieldDescriptor.TYPE_STRING:
                getattr(message, field.name)["k"] = "v"
        elif field.message_type:
            if depth < 6:
                member = getattr(message, field.name)
                fill(member.add() if field.is_repeated else member, canary, depth + 1)
        elif field.type == FieldDescriptor.TYPE_STRING:
            text = canary if field.number in secret_fields(message.DESCRIPTOR) else "text"
            if field.is_repeated:
                getattr(message, field.name).append(text)
            else:
                setattr(message, field.name, text)
    return message


@pytest.mark.parametrize(
    "descriptor", [d for d in ALL_MESSAGES if d.fields], ids=lambda descriptor: descriptor.full_name
)
def test_no_message_type_reveals_a_credential(descriptor: Descriptor) -> None:
    empty, full = message_class(descriptor)(), fill(message_class(descriptor)(), "hunter2-canary")
    other = fill(message_class(descriptor)(), "changed-canary")
    for before, after in ((empty, full), (full, empty), (full, other)):
        recorded = str(changed_fields(before, after))
        assert "canary" not in recorded
        assert (MASK in recorded) == (b"canary" in full.SerializeToString()), (
            "masked, but recorded as changed"
        )
    assert b"canary" not in redact(full).SerializeToString()
    assert b"canary" not in full.SerializeToString() or REDACTED in str(redact(full))


@given(
    st.lists(st.sampled_from(["password_hash", "username", "client_secret"]), min_size=1, unique=True),
    st.text("abcdefghij", min_size=8, max_size=8).map(lambda text: f"<{text}>"),
)
def test_a_changed_credential_is_named_but_not_shown(fields: list[str], value: str) -> None:
    after = Project()
    for field in fields:
        holder = after.sso.oidc if field == "client_secret" else after.static_admin
        setattr(holder, field, value)
    _, recorded = changed_fields(Project(), after)
    paths = {path.rpartition(".")[2]: shown for path, shown in recorded.items()}
    for field in fields:
        assert paths[field] == (value if field == "username" else MASK)


async def test_no_credential_reaches_the_audit_table(store: Store) -> None:
    """Every kind of record, with every field set."""
    for kind in KINDS:
        await store.create(fill(kind(), "hunter2-canary"), by=CI)
        await store.update(kind, "text", lambda record: fill(record, "changed-canary"), by=CI)
    recorded = str([tuple(row) for row in await rows(store)])
    assert "canary" not in recorded and MASK in recorded
