"""From a receiver's configuration to the function that sends to it."""

from collections.abc import Sequence

from pipecd.clock import Clock
from pipecd.config.notifications import Receiver
from pipecd.notify.delivery import Send
from pipecd.notify.network import Network
from pipecd.notify.sinks.apprise import open_apprise
from pipecd.notify.sinks.email import open_email
from pipecd.notify.sinks.slack import Threads, open_slack
from pipecd.notify.sinks.webhook import open_webhook

#: The members of `Receiver`, one of which is set.
TYPES = ("slack", "webhook", "email", "apprise")


def open_receiver(
    receiver: Receiver, threads: Threads, clock: Clock, network: Network | None = None
) -> tuple[Send, Sequence[str]]:
    """The function that sends, and the receiver's secrets, to mask them. Raises ConfigError.

    Without `network`, every address may be called. `apprise` cannot be limited, and must not be used with it.
    """
    if receiver.slack:
        slack = open_slack(receiver.name, receiver.slack, threads, network)
        return slack, [slack.token, receiver.slack.hook_url]
    if receiver.email:
        email = open_email(receiver.email, network)
        return email, [email.password]
    if receiver.apprise:
        assert network is None
        apprise = open_apprise(receiver.apprise)
        return apprise, apprise.urls
    assert receiver.webhook
    webhook = open_webhook(receiver.webhook, clock, network)
    return webhook, webhook.secrets


def type_of(receiver: Receiver) -> str:
    return next(name for name in TYPES if getattr(receiver, name))


def takes_pipecd_json(receiver: Receiver) -> bool:
    """Whether it gets events in PipeCD's JSON, which is not made for others."""
    return receiver.webhook is not None and receiver.webhook.format == "pipecd"
