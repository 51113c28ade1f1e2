"""Writes every event to the agent's log."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import structlog

from pipecd.model.application import Application
from pipecd.model.deployment import Commit, Deployment, Stage
from pipecd.model.notification import ApplicationEvent, NotificationEvent

log = structlog.get_logger()


async def write_to_log(event: NotificationEvent) -> None:
    log.info("notification", event_name=event.name, key=event.key, **log_fields(event))


def log_fields(event: NotificationEvent) -> Mapping[str, str]:
    """The event's members as texts; of an application, deployment or stage only what identifies it.

    Without the details of an application's state: they are differences, with the values of resources.
    """
    omitted = {"at", "reason"} if isinstance(event, ApplicationEvent) else {"at"}
    texts: dict[str, str] = {}
    for member in fields(event):
        if member.name not in omitted:
            texts |= _member_texts(member.name, getattr(event, member.name))
    return texts


def _member_texts(name: str, value: Any) -> Mapping[str, str]:
    match value:
        case None | "":
            return {}
        case Application():
            return {"application": value.name}
        case Deployment():
            return {
                "application": value.application_name,
                "deployment": value.id,
                "commit": value.trigger.commit.hash,
            }
        case Stage():
            return {"stage": value.id, "stage_reason": value.reason} if value.reason else {"stage": value.id}
        case Commit():
            return {"commit": value.hash}
        case str():
            return {name: value}
        case _:
            return {name: ", ".join(map(str, value))}
