"""Writes records of PipeCD into the store. Records that exist are not changed, so this can be repeated."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from pipecd import proto_json
from pipecd.controlplane.moving.mysql import Source
from pipecd.controlplane.store import Store
from pipecd.errors import AlreadyExists, Conflict, NotFound, Refused
from pipecd.model.actor import Actor
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.model.trace_pb2 import DeploymentTrace

#: PipeCD's table → its messages, in the order of import. Commands are not imported: they live for minutes.
TABLES: Mapping[str, type[Message]] = {
    "Project": Project,
    "Piped": Piped,
    "APIKey": APIKey,
    "Application": Application,
    "Deployment": Deployment,
    "DeploymentChain": DeploymentChain,
    "DeploymentTrace": DeploymentTrace,
    "Event": Event,
}
#: Problems that are reported; more are counted only.
MAX_PROBLEMS = 50


@dataclass(kw_only=True)
class Result:
    """Counts by table, and sentences on records that were not imported."""

    imported: Counter[str] = field(default_factory=Counter)
    existing: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add_problem(self, table: str, sentence: str) -> None:
        self.failed[table] += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"{table}: {sentence}")


async def import_table(store: Store, source: Source, table: str, result: Result, *, by: Actor) -> None:
    batches = source.records(table)
    while rows := await asyncio.to_thread(next, batches, None):
        messages = [message for row in rows if (message := _parse(table, row, result))]
        try:
            await store.create(*messages, by=by, touched=_updated_at)
            result.imported[table] += len(messages)
        except (AlreadyExists, Conflict, Refused):
            # One of the batch cannot be written, so that nothing was.
            for message in messages:
                await _import_one(store, table, message, result, by)


def label_conditions(source: Source) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Project, role and labels, of each role with conditions."""
    for rows in source.records("Project"):
        for project in (_parse("Project", row, Result()) for row in rows):
            if isinstance(project, Project):
                for role in project.rbac_roles:
                    labels = sorted(
                        f"{key}:{value}"
                        for policy in role.policies
                        for resource in policy.resources
                        for key, value in resource.labels.items()
                    )
                    if labels:
                        yield project.id, role.name, labels


async def _import_one(store: Store, table: str, message: Message, result: Result, by: Actor) -> None:
    try:
        await store.create(message, by=by, touched=_updated_at)
        result.imported[table] += 1
    except AlreadyExists:
        result.existing[table] += 1
    except (Conflict, Refused) as error:
        if await _exists(store, message):
            # It is the active deployment itself.
            result.existing[table] += 1
        else:
            result.add_problem(table, str(error))


async def _exists(store: Store, message: Message) -> bool:
    try:
        await store.get(type(message), str(message.id))  # type: ignore[attr-defined]
    except NotFound:
        return False
    return True


def _parse(table: str, text: str, result: Result) -> Message | None:
    try:
        message = proto_json.loads(TABLES[table], text)
    except ValueError as error:
        result.add_problem(table, f"a record is not valid: {str(error)[:300]}")
        return None
    if not getattr(message, "id", ""):
        result.add_problem(table, "a record has no id")
        return None
    return message


def _updated_at(message: Message) -> int:
    """Epoch seconds."""
    return int(getattr(message, "updated_at", 0) or getattr(message, "created_at", 0))
