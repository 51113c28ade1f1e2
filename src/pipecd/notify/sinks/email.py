"""Sends messages by SMTP: one e-mail for each event, as text and simple HTML.

The e-mails about a deployment refer to one identity, so that mail programs show them as one thread.
"""

import html
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from pipecd.certificates import tls_context
from pipecd.config.named_file import text_or_file
from pipecd.config.notifications import Email
from pipecd.errors import Refused, Temporary
from pipecd.notify.message import Message, Tone
from pipecd.notify.network import Network
from pipecd.notify.sinks.webhook import message_id

#: Of each command to the server (seconds). `Receivers` also limits the delivery.
TIMEOUT = 15.0
_MAX_EXCERPT = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_COLORS: Mapping[Tone, str] = {
    Tone.INFO: "#5c6370",
    Tone.SUCCESS: "#2e7d32",
    Tone.WARNING: "#9a6700",
    Tone.ERROR: "#b3261e",
}

_BOX, _NAME = "font-family:sans-serif;padding-left:12px", "color:#5c6370;padding:2px 16px 2px 0"


@dataclass(frozen=True)
class EmailSink:
    """`context` replaces the system's certificates in tests."""

    config: Email
    password: str
    context: ssl.SSLContext | None = None
    network: Network | None = None

    async def __call__(self, message: Message) -> None:
        import aiosmtplib

        security = self.config.security
        context = None if security == "none" else self.context or await tls_context()
        server = f"{self.config.host}:{self.config.port_number}"
        connection: Mapping[str, Any] = {"port": self.config.port_number}
        if self.network:
            connection = {"sock": await self.network.connect(self.config.host, self.config.port_number)}
        try:
            refused, _ = await aiosmtplib.send(
                render(message, self.config),
                sender=self.config.sender.addr_spec,
                recipients=[recipient.addr_spec for recipient in self.config.recipients],
                hostname=self.config.host,
                **connection,
                username=self.config.username or None,
                password=self.password or None,
                use_tls=security == "tls",
                start_tls=security == "starttls",
                tls_context=context,
                timeout=TIMEOUT,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusals = [f"{each.recipient}: {each.code} {_short(each.message)}" for each in error.recipients]
            _raise(f"{server} refuses the recipients: {', '.join(refusals)}", error.recipients[0].code)
        except aiosmtplib.SMTPResponseException as error:
            _raise(f"{server} answered {error.code}: {_short(error.message)}", error.code)
        except aiosmtplib.SMTPNotSupported as error:
            raise Refused(
                f"{server}: {_short(str(error))}", remedy="set security and username as the server requires"
            ) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            reason = _short(str(error.__cause__ or error)) or type(error).__name__
            raise Temporary(f"{server} cannot be reached: {reason}") from error
        if refused:
            # The others have it: a repetition would send it to them again.
            names = [f"{name}: {answer.code} {_short(answer.message)}" for name, answer in refused.items()]
            raise Refused(f"{server} refuses {', '.join(names)}", remedy="correct the addresses in `to`")


def open_email(config: Email, network: Network | None = None) -> EmailSink:
    """Reads the password. Raises ConfigError. Without `network`, every address may be called."""
    password = text_or_file(config.password, config.password_file, "passwordFile")
    return EmailSink(config, password, network=network)


def _raise(text: str, code: int) -> None:
    if 400 <= code < 500:
        raise Temporary(text)
    raise Refused(text, remedy="check the server, the login and the addresses of the receiver")


def _short(text: str) -> str:
    return _CONTROL.sub(" ", text)[:_MAX_EXCERPT].strip()


def render(message: Message, config: Email) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = config.sender
    mail["To"] = config.recipients
    mail["Subject"] = _CONTROL.sub(" ", message.title)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.at, UTC))
    domain = config.sender.domain
    mail["Message-ID"] = f"<{message_id(message)}@{domain}>"
    if message.thread:
        thread = f"<{re.sub('[^A-Za-z0-9-]', '', message.thread)[:64]}.deployment@{domain}>"
        mail["In-Reply-To"] = mail["References"] = thread
    # Automatic answers, such as of absence, are not wanted.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text_of(message))
    mail.add_alternative(_html(message), subtype="html")
    return mail


def text_of(message: Message) -> str:
    """The message without its title, as plain text."""
    fields = "\n".join(f"{name}: {_clean(value)}" for name, value in message.fields)
    return "\n\n".join(part for part in (_clean(message.text), fields, message.link) if part)


def _clean(text: str) -> str:
    """Without what an e-mail cannot contain."""
    return "\n".join(_CONTROL.sub(" ", line) for line in text.splitlines())


def _html(message: Message) -> str:
    def escape(text: str) -> str:
        return html.escape(_clean(text)).replace("\n", "<br>\n")

    rows = "".join(
        f'<tr><td style="{_NAME}">{escape(name)}</td><td>{escape(value)}</td></tr>\n'
        for name, value in message.fields
    )
    link = f'<p><a href="{html.escape(message.link)}">Open in the console</a></p>\n' if message.link else ""
    text = f"<p>{escape(message.text)}</p>\n" if message.text else ""
    return (
        f'<div style="{_BOX};border-left:4px solid {_COLORS[message.tone]}">\n'
        f"<h3>{escape(message.title)}</h3>\n{text}<table>\n{rows}</table>\n{link}</div>\n"
    )
