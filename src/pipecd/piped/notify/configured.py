"""Builds the receivers of the agent's file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pipecd.clock import Clock
from pipecd.config.document import Document
from pipecd.config.piped import PipedSpec
from pipecd.errors import ConfigError, Place
from pipecd.model.notification import NotificationEvent
from pipecd.notify.message import Message, message_of
from pipecd.notify.opening import open_receiver, takes_pipecd_json
from pipecd.notify.pipecd_json import pipecd_json
from pipecd.notify.sinks.apprise import open_service
from pipecd.piped.notify.outbox import Outbox
from pipecd.piped.notify.receivers import Receivers
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

    receivers = spec.notifications.receivers
    pipecd_receivers = {receiver.name for receiver in receivers if takes_pipecd_json(receiver)}

    def to_message(event: NotificationEvent, names: Sequence[str]) -> Message:
        return message_of(
            event,
            piped=spec.piped_id,
            project=spec.project_id,
            web_address=web_address,
            pipecd="" if pipecd_receivers.isdisjoint(names) else pipecd_json(event),
        )

    with closing(
        Outbox(file, max_waiting=settings.max_queued, max_keys=settings.max_remembered_keys)
    ) as outbox:
        sinks = {}
        for index, receiver in enumerate(receivers):
            try:
                sinks[receiver.name], secrets = open_receiver(receiver, outbox, clock)
            except ConfigError as error:
                place = Place(key=f"spec.notifications.receivers[{index}]")
                raise ConfigError(f"the receiver {receiver.name}: {error}", place=place) from error
            # Secrets in files are not known from the agent's file.
            for secret in secrets:
                add_secret(secret)
        yield Receivers(sinks, spec.notifications.routes, outbox, to_message, clock, settings)


def check_receivers(spec: PipedSpec, document: Document) -> None:
    """Raises ConfigError for a wrong address of `apprise`. `spec` was decoded from `document`."""
    for index, receiver in enumerate(spec.notifications.receivers):
        for number, url in enumerate(receiver.apprise.urls if receiver.apprise else ()):
            path = ("spec", "notifications", "receivers", index, "apprise", "urls", number)
            open_service(url, document.place(path))
