"""The receivers of projects: of the configuration file, or of a project's record in the store.

Receivers of the file may have any address. Those of the store, which users configure in the console, may have
addresses of the internet and of `spec.notifications.allowedNetworks`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import Message as ProtoMessage
from pydantic import ValidationError

from pipecd.clock import Clock
from pipecd.config.notifications import ProjectReceiver as Receiver
from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.sso.providers import decrypt, encrypt
from pipecd.controlplane.store import Store, lists
from pipecd.controlplane.store.secret_fields import REDACTED, secret_fields
from pipecd.errors import AlreadyExists, ConfigError, NotFound, PipecdError, Refused
from pipecd.model.actor import Actor
from pipecd.model.notification import PipedEvent
from pipecd.notify.delivery import Send
from pipecd.notify.message import Message
from pipecd.notify.network import Network
from pipecd.notify.opening import open_receiver, type_of
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.pipecd.v1.notifications_pb2 import ProjectReceiver
from pipecd.secrets import Redactor

MAX_RECEIVERS = 50
_MAX_DESTINATION = 200
_TYPES = ("slack", "webhook", "email")


@dataclass(frozen=True, kw_only=True)
class OpenReceiver:
    """`redact` masks the receiver's secrets in a text. `gets`: whether it is to be notified of an event."""

    name: str
    type: str
    events: Sequence[str]
    piped_ids: Sequence[str]
    gets: Callable[[PipedEvent], bool]
    destination: str
    send: Send
    redact: Callable[[str], str]


class ProjectReceivers:
    """`key` is the encryption key. Raises ConfigError for a wrong receiver of the configuration file."""

    def __init__(
        self,
        projects: Projects,
        configured: Mapping[str, Sequence[Receiver]],
        network: Network,
        store: Store,
        key: bytes,
        clock: Clock,
    ) -> None:
        self._projects, self._network, self._store = projects, network, store
        self._key, self._clock = key, clock
        self._configured: Mapping[str, Mapping[str, OpenReceiver]] = {
            project_id: {receiver.name: _open(receiver, clock, None) for receiver in receivers}
            for project_id, receivers in configured.items()
        }
        #: Of each project of the store: what was opened, and from which bytes.
        self._opened: dict[str, tuple[Sequence[bytes], Mapping[str, OpenReceiver]]] = {}

    async def all(self) -> Mapping[str, Mapping[str, OpenReceiver]]:
        """Project → its receivers by name. Projects without receivers are left out."""
        found = {id: receivers for id, receivers in self._configured.items() if receivers}
        for project in await lists.projects(self._store):
            if project.id not in self._configured and project.receivers:
                found[project.id] = self._open_stored(project)
        return found

    async def of(self, project_id: str) -> Mapping[str, OpenReceiver]:
        """The receivers of a project by name. Raises NotFound if it does not exist."""
        if project_id in self._configured:
            return self._configured[project_id]
        return self._open_stored(await self._projects.get(project_id))

    def _open_stored(self, project: Project) -> Mapping[str, OpenReceiver]:
        content = [receiver.SerializeToString(deterministic=True) for receiver in project.receivers]
        known = self._opened.get(project.id)
        if known and known[0] == content:
            return known[1]
        opened = {receiver.name: self._open_one(receiver) for receiver in project.receivers}
        self._opened[project.id] = (content, opened)
        return opened

    def _open_one(self, stored: ProjectReceiver) -> OpenReceiver:
        """A receiver that cannot be opened, such as after a change of the encryption key, fails to send."""
        try:
            return _open(_to_config(_decrypted(stored, self._key)), self._clock, self._network)
        except PipecdError as error:
            return OpenReceiver(
                name=stored.name,
                type=_type(stored),
                events=stored.events,
                piped_ids=stored.piped_ids,
                gets=lambda _: True,
                destination="",
                send=partial(_fail, str(error)),
                redact=str,
            )

    async def add(self, project_id: str, receiver: ProjectReceiver, *, by: Actor) -> None:
        """Raises Refused, AlreadyExists or, for a project of the configuration file, Conflict."""

        def alter(project: Project) -> None:
            if any(other.name == receiver.name for other in project.receivers):
                raise AlreadyExists(
                    f"receiver {receiver.name} already exists; choose another name", field="receiver.name"
                )
            if len(project.receivers) >= MAX_RECEIVERS:
                raise Refused(f"a project can have {MAX_RECEIVERS} receivers")
            project.receivers.append(self._encrypted(receiver, ProjectReceiver()))

        await self._projects.change(project_id, alter, by=by)

    async def update(self, project_id: str, receiver: ProjectReceiver, *, by: Actor) -> None:
        """A secret that is empty, or as the console received it, stays. Raises NotFound, and as `add`."""

        def alter(project: Project) -> None:
            stored = _find(project, receiver.name)
            stored.CopyFrom(self._encrypted(receiver, _decrypted(stored, self._key)))

        await self._projects.change(project_id, alter, by=by)

    async def delete(self, project_id: str, name: str, *, by: Actor) -> None:
        """Raises NotFound or, for a project of the configuration file, Conflict."""

        def alter(project: Project) -> None:
            project.receivers.remove(_find(project, name))

        await self._projects.change(project_id, alter, by=by)

    def _encrypted(self, receiver: ProjectReceiver, before: ProjectReceiver) -> ProjectReceiver:
        """`receiver` for the store, with the secrets of `before` that are not given. Raises Refused."""
        copy = ProjectReceiver()
        copy.CopyFrom(receiver)
        given = {
            name for part, _, name in _secrets(copy, before) if getattr(part, name) not in ("", REDACTED)
        }
        # The other way to reach Slack, and the password of a login that there is no more.
        dropped = {"hook_url", "oauth_token"} if given & {"hook_url", "oauth_token"} else set()
        dropped |= {"password"} if copy.HasField("email") and not copy.email.username else set()
        for part, old, name in _secrets(copy, before):
            if name not in given:
                setattr(part, name, "" if name in dropped else getattr(old, name))
        try:
            _open(_to_config(copy), self._clock, self._network)
        except ConfigError as error:
            raise Refused(str(error), field=f"receiver.{error.field}" if error.field else "") from error
        for part, _, name in _secrets(copy, copy):
            if value := getattr(part, name):
                setattr(part, name, encrypt(value, self._key))
        return copy


class _NoThreads:
    """The state of agents makes no threads of messages."""

    def thread(self, receiver: str, thread: str) -> str:
        return ""

    def set_thread(self, receiver: str, thread: str, identity: str) -> None:
        pass


def _open(receiver: Receiver, clock: Clock, network: Network | None) -> OpenReceiver:
    send, secrets = open_receiver(receiver, _NoThreads(), clock, network)
    return OpenReceiver(
        name=receiver.name,
        type=type_of(receiver),
        events=receiver.events,
        piped_ids=receiver.piped_ids,
        gets=receiver.gets,
        destination=_destination(receiver)[:_MAX_DESTINATION],
        send=send,
        redact=Redactor(secrets).text,
    )


async def _fail(reason: str, _: Message) -> None:
    raise Refused(reason)


def _destination(receiver: Receiver) -> str:
    """Without secrets: paths of URLs are secret."""
    if receiver.slack:
        return receiver.slack.channel_id or urlsplit(receiver.slack.hook_url).hostname or ""
    if receiver.webhook:
        return urlsplit(receiver.webhook.url).hostname or ""
    if receiver.email:
        return ", ".join(address.addr_spec for address in receiver.email.recipients)
    return "apprise"


def _find(project: Project, name: str) -> ProjectReceiver:
    for receiver in project.receivers:
        if receiver.name == name:
            return receiver
    raise NotFound(f"the project has no receiver {name!r}")


def _type(receiver: ProjectReceiver) -> str:
    return next((name for name in _TYPES if receiver.HasField(name)), "")  # type: ignore[arg-type]


def _secrets(
    receiver: ProjectReceiver, other: ProjectReceiver
) -> Sequence[tuple[ProtoMessage, ProtoMessage, str]]:
    """The part of `receiver` and of `other` that has each secret, and the name of its field."""
    found = []
    for type_ in _TYPES:
        if receiver.HasField(type_):  # type: ignore[arg-type]
            part: ProtoMessage = getattr(receiver, type_)
            for number in sorted(secret_fields(part.DESCRIPTOR)):
                name = part.DESCRIPTOR.fields_by_number[number].name
                found.append((part, getattr(other, type_), name))
    return found


def _decrypted(stored: ProjectReceiver, key: bytes) -> ProjectReceiver:
    """Raises Refused if it was encrypted with another key."""
    copy = ProjectReceiver()
    copy.CopyFrom(stored)
    for part, _, name in _secrets(copy, copy):
        if value := getattr(part, name):
            try:
                setattr(part, name, decrypt(value, key))
            except ConfigError:
                raise Refused(
                    f"the secrets of receiver {stored.name} were encrypted with another key",
                    remedy="delete the receiver and add it again",
                ) from None
    return copy


def _to_config(receiver: ProjectReceiver) -> Receiver:
    """`receiver` has secrets in plain text. Raises Refused if it is not valid."""
    members: dict[str, Any] = {
        "name": receiver.name,
        "events": list(receiver.events),
        "pipedIDs": list(receiver.piped_ids),
    }
    if receiver.HasField("slack"):
        slack = receiver.slack
        if slack.hook_url and not slack.hook_url.startswith("https://"):
            raise Refused("the URL of the hook must begin with https://", field="receiver.slack.hook_url")
        if slack.hook_url and slack.oauth_token:
            raise Refused(
                "a hook's URL and a bot token cannot be combined",
                remedy="leave one of them empty",
                field="receiver.slack.oauth_token",
            )
        members["slack"] = {
            "hookURL": slack.hook_url,
            "oauthToken": slack.oauth_token,
            "channelID": slack.channel_id,
            "mentionedAccounts": list(slack.mentioned_accounts),
            "mentionedGroups": list(slack.mentioned_groups),
        }
    if receiver.HasField("webhook"):
        webhook = receiver.webhook
        members["webhook"] = {
            "url": webhook.url,
            "signatureKey": webhook.signature_key or "PipeCD-Signature",
            "signatureValue": webhook.signature_value,
            "signingKey": webhook.signing_key,
            "format": webhook.format or "pipecd",
        }
    if receiver.HasField("email"):
        email = receiver.email
        members["email"] = {
            "host": email.host,
            "port": email.port,
            "security": email.security or "starttls",
            "username": email.username,
            "password": email.password,
            "from": getattr(email, "from"),
            "to": list(email.to),
        }
    try:
        return Receiver.model_validate(members)
    except ValidationError as error:
        # Without the values, which contain secrets.
        errors = error.errors(include_input=False)
        reasons = "; ".join(_reason(each["loc"], each["msg"]) for each in errors)
        field = _field(errors[0]["loc"]) if len(errors) == 1 else ""
        raise Refused(f"receiver {receiver.name}: {reasons}", field=field) from None


def _field(location: Sequence[object]) -> str:
    """The field of the request for a key of the configuration: `hookURL` is `hook_url`."""
    if location[:1] == ("events",):
        return "receiver.events"
    if len(location) < 2:
        return ""
    part, key = location[:2]
    name = re.sub(r"(?<=[a-z])[A-Z]+", lambda found: f"_{found[0].lower()}", str(key))
    return f"receiver.{part}.{name}"


def _reason(location: Sequence[object], message: str) -> str:
    place = ".".join(map(str, location))
    text = message.removeprefix("Value error, ")
    return f"{place}: {text}" if place else text
