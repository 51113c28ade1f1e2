"""Builds the receivers of the agent's file."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipecd.clock import Clock
from pipecd.config.document import Document
from pipecd.config.piped import PipedSpec, Receiver
from pipecd.model.notification import NotificationEvent
from pipecd.piped.notify.message import Message, message_of
from pipecd.piped.notify.outbox import Outbox
from pipecd.piped.notify.pipecd_json import pipecd_json
from pipecd.piped.notify.receivers import Receivers, Send
from pipecd.piped.notify.sinks.apprise import open_apprise, open_service
from pipecd.piped.notify.sinks.email import open_email
from pipecd.piped.notify.sinks.slack import open_slack
from pipecd.piped.notify.sinks.webhook import open_webhook
from pipecd.piped.settings import NotifierSettings


@contextmanager
def configured_receivers(
    spec: PipedSpec,
    web_address: str,
    file: Path,
    add_secret: Callable[[str], None],
    clock: Clock,
    settings: NotifierSettings,
) -> Iterator[Receivers | None]:
    """None if the file has no receivers. `file` is the outbox. Raises ConfigError."""
    if not spec.notifications.receivers:
        yield None
        return

    def to_message(event: NotificationEvent) -> Message:
        return message_of(
            event,
            piped=spec.piped_id,
            project=spec.project_id,
            web_address=web_address,
            pipecd=pipecd_json(event),
        )

    with closing(
        Outbox(file, max_waiting=settings.max_queued, max_keys=settings.max_remembered_keys)
    ) as outbox:
        sinks = {
            receiver.name: _open(receiver, outbox, add_secret, clock)
            for receiver in spec.notifications.receivers
        }
        yield Receivers(sinks, spec.notifications.routes, outbox, to_message, clock, settings)


def _open(receiver: Receiver, outbox: Outbox, add_secret: Callable[[str], None], clock: Clock) -> Send:
    """Secrets in files are not known from the agent's file: `add_secret` has them masked."""
    if receiver.slack:
        slack = open_slack(receiver.name, receiver.slack, outbox)
        add_secret(slack.token)
        return slack
    if receiver.email:
        email = open_email(receiver.email)
        add_secret(email.password)
        return email
    if receiver.apprise:
        apprise = open_apprise(receiver.apprise)
        for url in apprise.urls:
            add_secret(url)
        return apprise
    assert receiver.webhook
    webhook = open_webhook(receiver.webhook, clock)
    add_secret(webhook.value)
    return webhook


def check_receivers(spec: PipedSpec, document: Document) -> None:
    """Raises ConfigError for a wrong address of `apprise`. `spec` was decoded from `document`."""
    for index, receiver in enumerate(spec.notifications.receivers):
        for number, url in enumerate(receiver.apprise.urls if receiver.apprise else ()):
            path = ("spec", "notifications", "receivers", index, "apprise", "urls", number)
            open_service(url, document.place(path))
