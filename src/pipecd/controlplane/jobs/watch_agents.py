"""Notifies the receivers of projects that an agent is offline, and that it is online again.

The state of a project's agents is written after the messages: a run that was killed is repeated by the next
one, whose messages have the same keys.
"""

from collections.abc import Mapping, Sequence

from pipecd.controlplane.notifications import presence
from pipecd.controlplane.notifications.presence import Presence, Transition
from pipecd.controlplane.notifications.receivers import OpenReceiver
from pipecd.controlplane.records import pipeds
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import outbox
from pipecd.controlplane.store.kinds import PRESENCE
from pipecd.model.actor import Actor
from pipecd.model.notification import PipedCameOnline, PipedEvent, PipedWentOffline
from pipecd.notify.message import message_of
from pipecd.notify.pipecd_json import pipecd_json
from pipecd.schema.model.piped_pb2 import Piped


async def run(services: Services, by: Actor) -> None:
    for project_id, receivers in (await services.receivers.all()).items():
        stored = await services.store.get_metadata(PRESENCE, project_id)
        known = Presence.from_json(stored[0]) if stored else None
        contacts = await pipeds.last_contacts(services, project_id)
        state, transitions = presence.check(known, contacts, services.clock.now())
        for transition in transitions:
            await _notify(services, project_id, list(receivers.values()), transition)
        await services.store.put_metadata(PRESENCE, project_id, project_id, state.to_json(), by=by)


async def _notify(
    services: Services, project_id: str, receivers: Sequence[OpenReceiver], transition: Transition
) -> None:
    record = (await services.store.get(Piped, transition.piped_id)).message
    event = _event(record, transition, services.now())
    message = message_of(
        event,
        piped=record.id,
        project=project_id,
        web_address=services.address,
        pipecd=pipecd_json(event),
    )
    names = [receiver.name for receiver in receivers if receiver.gets(event)]
    await outbox.add(services.store, project_id, names, event.key, message.to_json(), services.clock.now())
    services.outbox_changed.set()


def _event(record: Piped, transition: Transition, now: int) -> PipedEvent:
    members: Mapping[str, str] = {
        "piped_id": record.id,
        "piped_name": record.name,
        "project_id": record.project_id,
        "version": record.version,
        "instance": "",
    }
    if transition.online:
        return PipedCameOnline(at=now, offline_since=transition.offline_since, **members)
    return PipedWentOffline(at=transition.offline_since, **members)
