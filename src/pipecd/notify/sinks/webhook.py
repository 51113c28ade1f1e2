"""Sends messages to an HTTP server: as PipeCD's JSON, or as CloudEvents.

PipeCD's header has a fixed value, which anyone who sees a request can repeat. With `signingKey`, requests are
also signed as https://www.standardwebhooks.com specifies: `webhook-id` is the same at each repetition.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipecd.clock import Clock
from pipecd.config.named_file import text_or_file
from pipecd.config.notifications import Webhook
from pipecd.errors import ConfigError
from pipecd.notify.message import Message
from pipecd.notify.network import Network
from pipecd.notify.sinks.http import post, raise_for

#: Standard Webhooks: keys are base64, with this prefix.
_PREFIX = "whsec_"


@dataclass(frozen=True)
class WebhookSink:
    config: Webhook
    value: str
    key: bytes
    clock: Clock
    network: Network | None = None
    #: What must not be shown: `value`, and the text of `key`.
    secrets: Sequence[str] = ()

    async def __call__(self, message: Message) -> None:
        body = encode(message, self.config.format)
        answer = await post(self.config.url, body, self._headers(message, body), self.network)
        raise_for(self.config.url, answer)

    def _headers(self, message: Message, body: bytes) -> Mapping[str, str]:
        kind = "application/cloudevents+json" if self.config.format == "cloudevents" else "application/json"
        headers = {"Content-Type": f"{kind}; charset=utf-8", "User-Agent": "pipecd"}
        if self.value:
            headers[self.config.signature_key] = self.value
        identity = message_id(message)
        headers["webhook-id"] = identity
        if self.key:
            timestamp = str(int(self.clock.now()))
            headers |= {
                "webhook-timestamp": timestamp,
                "webhook-signature": f"v1,{sign(self.key, identity, timestamp, body)}",
            }
        return headers


def open_webhook(config: Webhook, clock: Clock, network: Network | None = None) -> WebhookSink:
    """Reads the secrets. Raises ConfigError. Without `network`, every address may be called."""
    value = text_or_file(config.signature_value, config.signature_value_file, "signatureValueFile")
    text = text_or_file(config.signing_key, config.signing_key_file, "signingKeyFile")
    return WebhookSink(config, value, _decode_key(text), clock, network, secrets=(value, text))


def _decode_key(text: str) -> bytes:
    if not text:
        return b""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigError(
            "signingKey is not base64",
            remedy="use whsec_ and 24 to 64 bytes in base64",
            field="webhook.signing_key",
        ) from error
    if not 24 <= len(key) <= 64:
        raise ConfigError(
            f"signingKey has {len(key)} bytes",
            remedy="use whsec_ and 24 to 64 bytes in base64",
            field="webhook.signing_key",
        )
    return key


def sign(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The signature of Standard Webhooks, in base64."""
    content = b".".join((identity.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def message_id(message: Message) -> str:
    """Identical at each repetition. Without dots, which separate the parts of what is signed."""
    return "msg_" + hashlib.sha256(f"{message.piped}\0{message.key}".encode()).hexdigest()[:32]


def encode(message: Message, form: str) -> bytes:
    if form == "cloudevents":
        return json.dumps(cloud_event(message), ensure_ascii=False, separators=(",", ":")).encode()
    # One line, as PipeCD's agent sends it.
    return (message.pipecd or '{"Type":null,"Metadata":{}}').encode() + b"\n"


def cloud_event(message: Message) -> Mapping[str, Any]:
    """CloudEvents 1.0, structured mode."""
    return {
        "specversion": "1.0",
        "id": message_id(message),
        "source": f"/projects/{message.project}" + (f"/pipeds/{message.piped}" if message.piped else ""),
        "type": f"dev.pipecd.{message.event.lower().replace('_', '.', 1)}",
        "subject": message.subject,
        "time": datetime.fromtimestamp(message.at, UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "title": message.title,
            "text": message.text,
            "link": message.link,
            "severity": message.tone.value,
            **message.data,
        },
    }
