"""Sends messages to Slack: by an incoming webhook, or by a bot, with one thread per deployment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipecd.config.named_file import text_or_file
from pipecd.config.notifications import Slack
from pipecd.config.piped import decode_base64
from pipecd.errors import Refused, Temporary
from pipecd.json_input import decode_json
from pipecd.notify.message import Message, Tone
from pipecd.notify.network import Network
from pipecd.notify.sinks.http import post, raise_for

#: Answers of Slack that a repetition can change.
_TEMPORARY = {
    "fatal_error",
    "internal_error",
    "message_limit_exceeded",
    "ratelimited",
    "rate_limited",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
}
_COLORS: Mapping[Tone, str] = {
    Tone.INFO: "#222429",
    Tone.SUCCESS: "#629650",
    Tone.WARNING: "#C1A337",
    Tone.ERROR: "#9C3C31",
}


class Threads(Protocol):
    """The first message of each thread. See `Outbox`."""

    def thread(self, receiver: str, thread: str) -> str: ...

    def set_thread(self, receiver: str, thread: str, identity: str) -> None: ...


@dataclass(frozen=True)
class SlackSink:
    """`token` is empty with a hook."""

    receiver: str
    config: Slack
    token: str
    threads: Threads
    network: Network | None = None

    async def __call__(self, message: Message) -> None:
        content = render(message, self.config.mentioned_accounts, self.config.mentioned_groups)
        if self.token:
            await self._post_message(message, content)
        else:
            await self._post_to_hook(content)

    async def _post_to_hook(self, content: Mapping[str, Any]) -> None:
        body = json.dumps({"username": "PipeCD", **content}).encode()
        headers = {"Content-Type": "application/json"}
        answer = await post(self.config.hook_url, body, headers, self.network)
        raise_for(self.config.hook_url, answer)

    async def _post_message(self, message: Message, content: Mapping[str, Any]) -> None:
        arguments = {"channel": self.config.channel_id, **content}
        first = self.threads.thread(self.receiver, message.thread) if message.thread else ""
        if first:
            arguments["thread_ts"] = first
        url = f"{self.config.api_url.rstrip('/')}/chat.postMessage"
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Authorization": f"Bearer {self.token}",
        }
        answer = await post(url, json.dumps(arguments).encode(), headers, self.network)
        raise_for(url, answer)
        result = _result(answer.body)
        if not result.get("ok"):
            reason = str(result.get("error"))[:100]
            if reason in _TEMPORARY:
                raise Temporary(f"Slack answered {reason}", after=answer.retry_after)
            raise Refused(
                f"Slack answered {reason}", remedy="check channelID and the token's scope chat:write"
            )
        identity = result.get("ts")
        if message.thread and not first and isinstance(identity, str):
            self.threads.set_thread(self.receiver, message.thread, identity[:64])


def _result(body: bytes) -> Mapping[str, Any]:
    try:
        result = decode_json(body)
    except ValueError as error:
        raise Temporary("Slack's answer is not JSON") from error
    return result if isinstance(result, dict) else {}


def open_slack(receiver: str, config: Slack, threads: Threads, network: Network | None = None) -> SlackSink:
    """Reads the token. Raises ConfigError. Without `network`, every address may be called."""
    token = text_or_file(config.oauth_token, config.oauth_token_file, "oauthTokenFile")
    if config.oauth_token_data:
        token = decode_base64(config.oauth_token_data, "oauthTokenData").strip()
    return SlackSink(receiver, config, token, threads, network)


def render(message: Message, accounts: Sequence[str], groups: Sequence[str]) -> Mapping[str, Any]:
    """Mentions come from configuration files only: everything else is escaped."""
    mentions = [
        *(f"<@{escape(name)}>" for name in _unique("@", accounts, message.users)),
        *(f"<!subteam^{escape(name)}>" for name in _unique("<!subteam^", groups, message.groups)),
    ]
    attachment: dict[str, Any] = {
        "color": _COLORS[message.tone],
        "title": escape(message.title),
        "text": escape(message.text),
        "fallback": escape(message.title),
        "fields": [
            {"title": escape(name), "value": escape(value), "short": True} for name, value in message.fields
        ],
        "mrkdwn_in": ["text"],
        "ts": message.at,
    }
    if message.link:
        attachment["title_link"] = message.link
    # A mention in an attachment notifies no user.
    return {"text": " ".join(mentions), "attachments": [attachment]}


def escape(text: str) -> str:
    """As Slack requires. A commit's title cannot mention a user."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unique(prefix: str, *names: Sequence[str]) -> Sequence[str]:
    """Each once, without what surrounds an id in Slack's markup."""
    stripped = (name.strip().removeprefix(prefix).removesuffix(">") for some in names for name in some)
    return list(dict.fromkeys(name for name in stripped if name))
