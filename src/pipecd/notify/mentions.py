"""Whom the file of an application mentions. Stored with the deployment when it is created, as PipeCD does:
its messages mention those whom the deployed commit names.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from pipecd.config.application import Mention
from pipecd.json_input import decode_json
from pipecd.model.notification import DeploymentEvent, NotificationEvent

log = structlog.get_logger()

#: Key of a deployment's shared metadata.
METADATA_KEY = "DeploymentNotification"
#: Bytes of the stored value.
_MAX_SIZE = 32 * 1024
EVERY_EVENT = "*"


def mentions_metadata(mentions: Sequence[Mention], application: str) -> Mapping[str, str]:
    """Empty without mentions."""
    if not mentions:
        return {}
    content = [
        {
            "event": mention.event,
            "slackUsers": [*mention.slack, *mention.slack_users],
            "slackGroups": [*mention.slack_groups],
        }
        for mention in mentions
    ]
    text = json.dumps({"mentions": content}, separators=(",", ":"))
    if len(text) > _MAX_SIZE:
        log.warning("mentions_ignored", application=application, reason=f"more than {_MAX_SIZE >> 10} KiB")
        return {}
    return {METADATA_KEY: text}


def mentioned(event: NotificationEvent) -> tuple[Sequence[str], Sequence[str]]:
    """Slack users and groups. Events of stages and of the agent mention no user, as in PipeCD."""
    if not isinstance(event, DeploymentEvent):
        return (), ()
    # PipeCD's agent may have created the deployment.
    try:
        found = decode_json(event.deployment.shared.get(METADATA_KEY, "{}"))
        entries = [
            entry for entry in found.get("mentions") or () if entry.get("event") in (EVERY_EVENT, event.name)
        ]
        users = [name for entry in entries for key in ("slack", "slackUsers") for name in _names(entry, key)]
        groups = [name for entry in entries for name in _names(entry, "slackGroups")]
    except (ValueError, AttributeError, TypeError):
        return (), ()
    return tuple(dict.fromkeys(users)), tuple(dict.fromkeys(groups))


def _names(entry: Mapping[str, Any], key: str) -> Sequence[str]:
    return [name for name in entry.get(key) or () if isinstance(name, str)]
