"""The body of a webhook as PipeCD's agent sends it: the event's number, and its message as JSON."""

import json
from typing import Any

from pipecd import proto_json, wire
from pipecd.model.application import Application
from pipecd.model.notification import (
    ApplicationEvent,
    DeploymentApproved,
    DeploymentEvent,
    DeploymentTriggerFailed,
    NotificationEvent,
    PipedEvent,
    StageEvent,
)
from pipecd.notify.mentions import mentioned
from pipecd.schema.model import application_pb2, notification_pb2

#: PipeCD documents APPLICATION_UNHEALTHY without a number, and has no events of the control plane. These
#: numbers follow those of APPLICATION_HEALTHY and PIPED_STOPPED.
_UNNUMBERED = {"APPLICATION_UNHEALTHY": 201, "PIPED_OFFLINE": 302, "PIPED_ONLINE": 303}


def pipecd_json(event: NotificationEvent) -> str:
    """One line. Members that are empty are left out, as PipeCD does."""
    content = {"Type": _number(event.name), "Metadata": _metadata(event)}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _number(name: str) -> int:
    types = notification_pb2.NotificationEventType
    return _UNNUMBERED.get(name) or int(types.Value(f"EVENT_{name}"))


def _metadata(event: NotificationEvent) -> Any:
    match event:
        case DeploymentTriggerFailed(application=application, commit=commit, reason=reason):
            return proto_json.to_object(
                notification_pb2.NotificationEventDeploymentTriggerFailed(
                    application=_application(application),
                    commit_hash=commit.hash if commit else "",
                    commit_message=commit.message if commit else "",
                    reason=reason,
                )
            )
        case DeploymentEvent(deployment=deployment) | StageEvent(deployment=deployment):
            metadata: dict[str, Any] = {
                "deployment": proto_json.to_object(wire.deployment_to(deployment, now=event.at))
            }
            for name in ("summary", "reason", "commander"):
                if value := getattr(event, name, ""):
                    metadata[name] = value
            users, groups = mentioned(event)
            metadata |= {"mentioned_accounts": list(users)} if users else {}
            metadata |= {"mentioned_groups": list(groups)} if groups else {}
            if isinstance(event, DeploymentApproved) and event.approvers:
                metadata["approver"] = ", ".join(event.approvers)
            if isinstance(event, StageEvent):
                metadata["stage"] = proto_json.to_object(wire.stage_to(event.stage, now=event.at))
            return metadata
        case ApplicationEvent(application=application, summary=summary):
            state = {"short_reason": summary, "timestamp": event.at}
            return {"application": proto_json.to_object(_application(application)), "state": state}
        case PipedEvent():
            return {
                "id": event.piped_id,
                "name": event.piped_name,
                "version": event.version,
                "project_id": event.project_id,
            }
        case _:
            return {}


def _application(application: Application) -> application_pb2.Application:
    return application_pb2.Application(
        id=application.id,
        name=application.name,
        piped_id=application.piped_id,
        project_id=application.project_id,
        kind=wire.kind_number(application.kind),
        git_path=wire.git_path_to(application.git_path),
        labels=dict(application.labels),
    )
