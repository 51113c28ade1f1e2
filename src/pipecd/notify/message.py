"""What receivers are sent of an event, as a value that can be stored: it survives a restart of the agent.

A receiver's sink turns a message into its own form. The texts are made here, in one table.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum
from uuid import uuid4

from pipecd.json_input import decode_json
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment
from pipecd.model.notification import (
    ApplicationEvent,
    ApprovalRequested,
    DeploymentApproved,
    DeploymentCancelled,
    DeploymentTriggerFailed,
    EventGroup,
    NotificationEvent,
    PipedCameOnline,
    PipedEvent,
    PipedWentOffline,
    StageEvent,
)
from pipecd.notify.mentions import mentioned

#: Characters of a title or text; of more, the end is cut off.
MAX_TITLE, MAX_TEXT = 300, 3000


class Tone(Enum):
    """How good the news is."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"


_TITLES: Mapping[str, tuple[Tone, str]] = {
    "DEPLOYMENT_TRIGGERED": (Tone.INFO, "Triggered a deployment of {name}"),
    "DEPLOYMENT_PLANNED": (Tone.INFO, "Planned the deployment of {name}"),
    "DEPLOYMENT_STARTED": (Tone.INFO, "Started deploying {name}"),
    "DEPLOYMENT_WAIT_APPROVAL": (Tone.WARNING, "The deployment of {name} waits for approval"),
    "DEPLOYMENT_APPROVED": (Tone.INFO, "The deployment of {name} was approved"),
    "DEPLOYMENT_ROLLING_BACK": (Tone.WARNING, "Rolling back {name}"),
    "DEPLOYMENT_SUCCEEDED": (Tone.SUCCESS, "Deployed {name}"),
    "DEPLOYMENT_FAILED": (Tone.ERROR, "The deployment of {name} failed"),
    "DEPLOYMENT_CANCELLED": (Tone.WARNING, "The deployment of {name} was cancelled"),
    "DEPLOYMENT_TRIGGER_FAILED": (Tone.ERROR, "No deployment of {name} could be created"),
    "STAGE_STARTED": (Tone.INFO, "Stage {stage} of {name} started"),
    "STAGE_SKIPPED": (Tone.INFO, "Stage {stage} of {name} was skipped"),
    "STAGE_SUCCEEDED": (Tone.SUCCESS, "Stage {stage} of {name} succeeded"),
    "STAGE_FAILED": (Tone.ERROR, "Stage {stage} of {name} failed"),
    "STAGE_CANCELLED": (Tone.WARNING, "Stage {stage} of {name} was cancelled"),
    "APPLICATION_SYNCED": (Tone.SUCCESS, "{name} is in sync with Git"),
    "APPLICATION_OUT_OF_SYNC": (Tone.WARNING, "{name} differs from Git"),
    "APPLICATION_HEALTHY": (Tone.SUCCESS, "{name} is healthy"),
    "APPLICATION_UNHEALTHY": (Tone.ERROR, "{name} is unhealthy"),
    "PIPED_STARTED": (Tone.INFO, "Agent {name} started"),
    "PIPED_STOPPED": (Tone.INFO, "Agent {name} stopped"),
    "PIPED_OFFLINE": (Tone.ERROR, "Agent {name} is offline"),
    "PIPED_ONLINE": (Tone.SUCCESS, "Agent {name} is online again"),
}


@dataclass(frozen=True, kw_only=True)
class Message:
    """`key` identifies the occurrence. `thread` is the deployment that the message is about, or empty."""

    key: str
    event: str
    group: str
    #: When it happened (epoch seconds).
    at: int
    project: str
    piped: str
    tone: Tone
    title: str
    text: str = ""
    #: Address of a page of the console; empty if unknown.
    link: str = ""
    fields: Sequence[tuple[str, str]] = ()
    thread: str = ""
    #: Identifies the deployment, application or agent.
    subject: str = ""
    #: Members of the subject, for programs.
    data: Mapping[str, str] = field(default_factory=dict)
    #: Slack users and groups that the application's file mentions.
    users: Sequence[str] = ()
    groups: Sequence[str] = ()
    #: The event in PipeCD's JSON, for webhooks; empty if PipeCD has no such event.
    pipecd: str = ""

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "tone": self.tone.value}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Message":
        stored = decode_json(text)
        fields = tuple((name, value) for name, value in stored["fields"])
        people = {key: tuple(stored.get(key, ())) for key in ("users", "groups")}
        return cls(**{**stored, **people, "tone": Tone(stored["tone"]), "fields": fields})


def message_of(
    event: NotificationEvent, *, piped: str, project: str, web_address: str, pipecd: str = ""
) -> Message:
    """`web_address` is that of the console, or empty."""
    deployment: Deployment | None = getattr(event, "deployment", None)
    application: Application | None = getattr(event, "application", None)
    stage = event.stage.name if isinstance(event, StageEvent) else ""
    name = (
        deployment.application_name
        if deployment
        else application.name
        if application
        else event.piped_name
        if isinstance(event, PipedEvent)
        else ""
    )
    tone, title = _TITLES[event.name]
    users, groups = mentioned(event)
    data = _data(event, deployment, application)
    return Message(
        key=event.key,
        event=event.name,
        group=event.group.value,
        at=event.at,
        project=project,
        piped=piped,
        tone=tone,
        title=_cut(title.replace("{stage}", stage).replace("{name}", name), MAX_TITLE),
        text=_cut(_text(event), MAX_TEXT),
        link=_link(web_address, project, deployment, application),
        fields=tuple(_fields(event, deployment, application, project)),
        thread=deployment.id if deployment else "",
        subject=deployment.id if deployment else application.id if application else piped,
        data=data,
        users=users,
        groups=groups,
        pipecd=pipecd,
    )


def test_message(*, piped: str, project: str, web_address: str, at: int) -> Message:
    """What a user sends to a receiver to see whether it arrives. `piped` is empty for one of a project."""
    return Message(
        key=f"{piped or project}/test/{uuid4()}",
        event="NOTIFICATION_TEST",
        group=EventGroup.PIPED.value,
        at=at,
        project=project,
        piped=piped,
        tone=Tone.INFO,
        title="Test message of PipeCD",
        text="This receiver works. A user sent this message to test it.",
        link=_link(web_address, project, None, None),
        fields=(("Project", project),),
        subject=piped or project,
    )


def _text(event: NotificationEvent) -> str:
    match event:
        case ApprovalRequested(approvers=[_, *_] as approvers):
            return f"Approvers: {', '.join(approvers)}"
        case DeploymentApproved(approvers=approvers):
            return f"Approved by {', '.join(approvers)}" if approvers else ""
        case DeploymentCancelled(commander=commander, reason=reason):
            return reason or (f"Cancelled by {commander}" if commander else "")
        case StageEvent(stage=stage):
            return stage.reason
        case ApplicationEvent(summary=summary):
            # Without the details, which contain values of resources.
            return summary
        case PipedWentOffline():
            return f"It was last connected at {_time(event.at)}. Nothing is deployed until it is back."
        case PipedCameOnline():
            return f"It was offline from {_time(event.offline_since)} to {_time(event.at)}."
        case _:
            return str(getattr(event, "reason", "") or getattr(event, "summary", ""))


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _fields(
    event: NotificationEvent, deployment: Deployment | None, application: Application | None, project: str
) -> Sequence[tuple[str, str]]:
    pairs = [("Project", project)]
    if deployment:
        commit = deployment.trigger.commit
        by = deployment.trigger.commander or commit.author
        pairs += [
            ("Application", deployment.application_name),
            ("Kind", deployment.kind),
            ("Deployment", deployment.id[:8]),
            ("Commit", _commit_title(commit.hash, commit.message)),
            ("Triggered by", by),
            ("Started at", _time(deployment.created_at or event.at)),
        ]
    elif application:
        pairs += [("Application", application.name), ("Kind", application.kind)]
        if isinstance(event, DeploymentTriggerFailed) and event.commit:
            pairs.append(("Commit", _commit_title(event.commit.hash, event.commit.message)))
    elif isinstance(event, PipedEvent):
        pairs += [("Agent", event.piped_name), ("Version", event.version)]
    return [(name, _cut(value, MAX_TITLE)) for name, value in pairs if value]


def _commit_title(commit: str, message: str) -> str:
    return f"{commit[:8]} {message.partition(chr(10))[0]}".strip()


def _data(
    event: NotificationEvent, deployment: Deployment | None, application: Application | None
) -> Mapping[str, str]:
    values: dict[str, str] = {}
    if deployment:
        values = {
            "applicationId": deployment.application_id,
            "applicationName": deployment.application_name,
            "applicationKind": deployment.kind,
            "deploymentId": deployment.id,
            "commitHash": deployment.trigger.commit.hash,
            "status": deployment.status.name,
        }
    elif application:
        values = {
            "applicationId": application.id,
            "applicationName": application.name,
            "applicationKind": application.kind,
        }
    elif isinstance(event, PipedEvent):
        values = {"pipedId": event.piped_id, "pipedName": event.piped_name, "version": event.version}
    if isinstance(event, StageEvent):
        values |= {"stageId": event.stage.id, "stageName": event.stage.name}
    return values


def _link(
    web_address: str, project: str, deployment: Deployment | None, application: Application | None
) -> str:
    if not web_address:
        return ""
    base = web_address.rstrip("/")
    if deployment:
        return f"{base}/deployments/{deployment.id}?project={project}"
    if application:
        return f"{base}/applications/{application.id}?project={project}"
    return f"{base}/settings/piped?project={project}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
