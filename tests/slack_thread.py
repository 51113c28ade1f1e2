"""Slack in end-to-end tests: the settings of an agent, and what the thread of a deployment contains."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.eventually import eventually
from tests.piped.receiver_server import TOKEN, Slack

CHANNEL = "C1"


def slack_notifications(folder: Path, server_url: str) -> dict[str, Any]:
    """`notifications` of an agent: everything about deployments and stages goes to the channel."""
    (folder / "token").write_text(TOKEN)
    access = {
        "oauthTokenFile": str(folder / "token"),
        "channelID": CHANNEL,
        "apiURL": f"{server_url}/api",
    }
    return {
        "routes": [{"receiver": "team", "groups": ["DEPLOYMENT", "STAGE"]}],
        "receivers": [{"name": "team", "slack": access}],
    }


def titles_of_bad_canary(*stages: str) -> Sequence[str]:
    """What Slack gets about a deployment of `shop` that its ANALYSIS stage, after `stages`, rolls back."""
    before = [f"Stage {stage} of shop {what}" for stage in stages for what in ("started", "succeeded")]
    return [
        "Triggered a deployment of shop",
        "Planned the deployment of shop",
        "Started deploying shop",
        *before,
        "Stage ANALYSIS of shop started",
        "Stage ANALYSIS of shop failed",
        "Rolling back shop",
        "Stage ROLLBACK of shop started",
        "Stage ROLLBACK of shop succeeded",
        "The deployment of shop failed",
    ]


async def check_thread(
    slack: Slack, deployment: Any, titles: Sequence[str], *, reason: str, rolled_back: str
) -> None:
    """All messages about the deployment are one thread, in order and without repetitions.

    They contain the reason of the failure and the note of the rollback.
    """

    async def thread() -> list[Any]:
        beginnings = [
            message["ts"]
            for message in slack.messages
            if "thread_ts" not in message and deployment.id[:8] in json.dumps(message)
        ]
        assert len(beginnings) == 1
        messages = [
            message["attachments"][0]
            for message in slack.messages
            if beginnings[0] in (message["ts"], message.get("thread_ts"))
        ]
        assert messages[-1]["title"] == titles[-1]
        return messages

    messages = await eventually(thread)
    assert [message["title"] for message in messages] == titles
    texts = {message["title"]: message["text"] for message in messages}
    assert texts["Stage ANALYSIS of shop failed"].startswith(reason)
    assert texts[titles[-1]].startswith(f"Stage ANALYSIS failed: {reason}")
    assert texts["Stage ROLLBACK of shop succeeded"] == rolled_back
    assert all(deployment.id[:8] in json.dumps(message["fields"]) for message in messages)
