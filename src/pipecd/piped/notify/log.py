"""Sends notifications, given the event's name and fields. Currently writes them to the agent's log."""

from collections.abc import Mapping

import structlog

log = structlog.get_logger()


def log_notification(event: str, fields: Mapping[str, str]) -> None:
    log.info("notification", event_name=event, **fields)
