"""From a receiver's configuration to the function that sends to it."""

from collections.abc import Sequence

from pipecd.clock import Clock
from pipecd.config.notifications import Receiver
from pipecd.notify.delivery import Send
from pipecd.notify.sinks.apprise import open_apprise
from pipecd.notify.sinks.email import open_email
from pipecd.notify.sinks.slack import Threads, open_slack
from pipecd.notify.sinks.webhook import open_webhook

#: The members of `Receiver`, one of which is set.
TYPES = ("slack", "webhook", "email", "apprise")


def open_receiver(receiver: Receiver, threads: Threads, clock: Clock) -> tuple[Send, Sequence[str]]:
    """The function that sends, and the receiver's secrets, to mask them. Raises ConfigError."""
    if receiver.slack:
        slack = open_slack(receiver.name, receiver.slack, threads)
        return slack, [slack.token, receiver.slack.hook_url]
    if receiver.email:
        email = open_email(receiver.email)
        return email, [email.password]
    if receiver.apprise:
        apprise = open_apprise(receiver.apprise)
        return apprise, apprise.urls
    assert receiver.webhook
    webhook = open_webhook(receiver.webhook, clock)
    return webhook, [webhook.value]


def type_of(receiver: Receiver) -> str:
    return next(name for name in TYPES if getattr(receiver, name))


def takes_pipecd_json(receiver: Receiver) -> bool:
    """Whether it gets events in PipeCD's JSON, which is not made for others."""
    return receiver.webhook is not None and receiver.webhook.format == "pipecd"
