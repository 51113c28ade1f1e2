"""Maps each message type to its table, and to the columns that its fields are copied to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message

from pipecd.controlplane.store import tables
from pipecd.model.status import DeploymentStatus
from pipecd.schema.agent.applications_pb2 import ReportUnregisteredApplicationConfigurationsRequest
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from pipecd.schema.pipecd.v1.agent_pb2 import ReportEventWatchersRequest
from pipecd.wire import kind_from

Columns = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MetadataKind:
    """Small values of a record that are replaced as a whole, such as the last report of an agent.

    `message` is the type of the data, if it is recorded in the audit log; measurements, which replace each
    other every minute, are not. `announced`: a write adds a change to the change feed.
    """

    name: str
    message: type[Message] | None = None
    announced: bool = False


#: The metrics of an agent, as it last reported them.
STATISTICS = MetadataKind(name="stat")
#: Written when an agent says that its event loop runs.
HEARTBEAT = MetadataKind(name="beat")
#: Written when an agent's stream ends: earlier statistics no longer prove that it is online.
DISCONNECTED = MetadataKind(name="left")
#: Unregistered applications that an agent found in Git.
SUGGESTIONS = MetadataKind(
    name="suggestions", message=ReportUnregisteredApplicationConfigurationsRequest, announced=True
)
#: Messages to replicas of the control plane (`controlplane.relay`). The project's id is that of the replica.
REPLICA_MESSAGE = MetadataKind(name="replica_message", announced=True)
#: The id of the replica whose stream of the agent takes requests.
REQUEST_REPLICA = MetadataKind(name="request_replica")
#: The event watchers of a repository of an agent.
EVENT_WATCHERS = MetadataKind(name="event_watchers", message=ReportEventWatchersRequest)
#: The receivers of an agent's notifications, with their last results.
RECEIVERS = MetadataKind(name="receivers")
#: Which agents of a project are offline, for notifications (`controlplane.notifications`). The id is the
#: project's.
PRESENCE = MetadataKind(name="presence")
#: When a receiver of a project last accepted a message, and why it last did not (`store.outbox`).
RECEIVER_RESULT = MetadataKind(name="receiver_result")
#: What the configuration file says about a project.
CONFIGURED_PROJECT = MetadataKind(name="configured_project", message=Project)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`name` is used in the change feed and in errors; `piped` returns the ID of the agent to notify."""

    name: str
    table: sa.Table
    columns: Callable[[Any], Columns]
    piped: Callable[[Any], str] = lambda message: ""
    project: Callable[[Any], str] = lambda message: str(message.project_id)


def format_labels(labels: Mapping[str, str]) -> str:
    """One line per label, each enclosed in newlines, so that a whole label can be searched for."""
    return "\n" + "".join(f"{key}:{value}\n" for key, value in sorted(labels.items())) if labels else ""


def _lines(values: Iterable[str]) -> str:
    """As `format_labels`."""
    text = "\n".join(values)
    return f"\n{text}\n" if text else ""


def _application(message: Application) -> Columns:
    labels = format_labels(message.labels)
    return {
        "piped_id": message.piped_id,
        "name": message.name,
        "words": (message.name + labels).lower(),
        "labels": labels,
        "kind_name": kind_from(message),
        "sync_status": message.sync_state.status,
        "disabled": int(message.disabled),
        "deleted": int(message.deleted),
    }


def _deployment(message: Deployment) -> Columns:
    active = DeploymentStatus(message.status).active
    return {
        "piped_id": message.piped_id,
        "application_id": message.application_id,
        "active_application_id": message.application_id if active else None,
        "words": message.application_name.lower(),
        "labels": format_labels(message.labels),
        "trace_commit": message.deployment_trace_commit_hash,
        "trace_commits": _lines(message.deployment_trace_commit_hashes),
        "kind_name": kind_from(message),
        "status": message.status,
    }


def _command(message: Command) -> Columns:
    return {"piped_id": message.piped_id, "status": message.status, "created_at": message.created_at}


def _event(message: Event) -> Columns:
    return {
        "name": message.name,
        "event_key": message.event_key,
        "labels": format_labels(message.labels),
        "status": message.status,
        "created_at": message.created_at,
    }


KINDS: Mapping[type[Message], Kind] = {
    Project: Kind(name="project", table=tables.projects, columns=lambda m: {}, project=lambda m: str(m.id)),
    Piped: Kind(
        name="piped",
        table=tables.pipeds,
        columns=lambda m: {"name": m.name, "disabled": int(m.disabled)},
        piped=lambda m: str(m.id),
    ),
    Application: Kind(
        name="application", table=tables.applications, columns=_application, piped=lambda m: str(m.piped_id)
    ),
    Deployment: Kind(
        name="deployment", table=tables.deployments, columns=_deployment, piped=lambda m: str(m.piped_id)
    ),
    Command: Kind(name="command", table=tables.commands, columns=_command, piped=lambda m: str(m.piped_id)),
    Event: Kind(name="event", table=tables.events, columns=_event),
    APIKey: Kind(name="api_key", table=tables.api_keys, columns=lambda m: {"name": m.name}),
    DeploymentChain: Kind(name="chain", table=tables.chains, columns=lambda m: {"status": m.status}),
    DeploymentTrace: Kind(
        name="trace", table=tables.traces, columns=lambda m: {"commit_hash": m.commit_hash}
    ),
}
