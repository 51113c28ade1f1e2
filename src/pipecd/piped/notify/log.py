"""Tells people what happens. Called with an event's name and its fields; today they go to the agent's log."""

from collections.abc import Mapping

import structlog

log = structlog.get_logger()


def log_notification(event: str, fields: Mapping[str, str]) -> None:
    log.info("notification", event_name=event, **fields)
