"""Receivers of notifications, and routes that say which of them gets an event.

Part of the agent's file and of the control plane's. Unknown keys are ignored, as in PipeCD.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from email.headerregistry import Address, HeaderRegistry
from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from pipecd.config.decode import LenientModel
from pipecd.config.values import Base64, HttpUrl, Text
from pipecd.model.notification import CONTROL_PLANE_EVENTS, EVENT_TYPES, EventGroup, PipedEvent


class Route(LenientModel):
    name: str = ""
    """Name of the route."""
    receiver: str = Field(min_length=1)
    """Name of the receiver that gets the notifications of this route."""
    events: Sequence[str] = ()
    """Only these events, such as `DEPLOYMENT_FAILED`. Empty: all events."""
    ignore_events: Sequence[str] = ()
    """Not these events."""
    groups: Sequence[str] = ()
    """Only events of these groups, such as `DEPLOYMENT` or `APPLICATION_SYNC`. Empty: all groups."""
    ignore_groups: Sequence[str] = ()
    """No events of these groups."""
    apps: Sequence[str] = ()
    """Only events of applications with these names. Empty: all applications."""
    ignore_apps: Sequence[str] = ()
    """No events of applications with these names."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """Only events of applications with all of these labels."""
    ignore_labels: Mapping[str, Text] = Field(default_factory=dict)
    """No events of applications with one of these labels."""
    kinds: Sequence[str] = ()
    """Only events of applications of these kinds, such as `KUBERNETES`. Empty: all kinds. Not in PipeCD."""
    ignore_kinds: Sequence[str] = ()
    """No events of applications of these kinds. Not in PipeCD."""

    @field_validator("events", "ignore_events")
    @classmethod
    def _known_events(cls, value: Sequence[str]) -> Sequence[str]:
        return _known(value, EVENT_TYPES, "event")

    @field_validator("groups", "ignore_groups")
    @classmethod
    def _known_groups(cls, value: Sequence[str]) -> Sequence[str]:
        return _known(value, [group.value for group in EventGroup], "group")


def _known(names: Sequence[str], known: Collection[str], what: str) -> Sequence[str]:
    """The names without the prefix `EVENT_` that they have on the wire."""
    short = [name.removeprefix("EVENT_") for name in names]
    for name in short:
        if name not in known:
            if name in CONTROL_PLANE_EVENTS:
                raise ValueError(
                    f"{name} is an event of the control plane: configure a receiver of the project"
                )
            if name in EVENT_TYPES:
                raise ValueError(f"{name} is an event of agents: configure a route in their files")
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
            raise ValueError(f"there is no {what} {name!r}; {hint}")
    return short


class Slack(LenientModel):
    hook_url: HttpUrl = Field(default="", alias="hookURL")
    """URL of an incoming webhook of Slack. Cannot be combined with an OAuth token."""
    oauth_token: str = ""
    """OAuth token of a Slack app. Deprecated: use `oauthTokenFile` or `oauthTokenData`."""
    oauth_token_data: Base64 = ""
    """OAuth token of a Slack app, in base64."""
    oauth_token_file: str = ""
    """Path of a file that contains the OAuth token of a Slack app."""
    channel_id: str = Field(default="", alias="channelID")
    """Id of the channel that gets the messages; required with an OAuth token."""
    api_url: HttpUrl = Field(default="https://slack.com/api", alias="apiURL", min_length=1)
    """Address of Slack's API for an OAuth token; that of GovSlack differs. Not in PipeCD."""
    mentioned_accounts: Sequence[str] = ()
    """Member ids of Slack accounts that every message mentions."""
    mentioned_groups: Sequence[str] = ()
    """Ids of Slack user groups that every message mentions."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        tokens = [self.oauth_token, self.oauth_token_data, self.oauth_token_file]
        if sum(map(bool, (self.hook_url, *tokens))) != 1:
            raise ValueError("exactly one of hookURL, oauthTokenFile and oauthTokenData must be given")
        if not self.hook_url and not self.channel_id:
            raise ValueError("channelID is required with an OAuth token")
        return self


class Webhook(LenientModel):
    url: HttpUrl = Field(min_length=1)
    """URL that gets each event as an HTTP POST request."""
    signature_key: str = "PipeCD-Signature"
    """Name of the HTTP header that carries the signature value."""
    signature_value: str = ""
    """Value of the signature header; a secret that the receiver compares."""
    signature_value_file: str = ""
    """Path of a file that contains the value of the signature header."""
    signing_key: str = ""
    """Key that signs requests as Standard Webhooks specifies: `whsec_` and base64. Not in PipeCD."""
    signing_key_file: str = ""
    """Path of a file that contains the signing key. Not in PipeCD."""
    format: Literal["pipecd", "cloudevents"] = "pipecd"
    """Form of the requests: PipeCD's JSON, or CloudEvents 1.0. `cloudevents` is not in PipeCD."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.signature_value and self.signature_value_file:
            raise ValueError("only one of signatureValue and signatureValueFile can be given")
        if self.signing_key and self.signing_key_file:
            raise ValueError("only one of signingKey and signingKeyFile can be given")
        return self


class Email(LenientModel):
    host: str = Field(min_length=1)
    """Host name of the SMTP server."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the server. Default: 587, 465 or 25, as `security` is `starttls`, `tls` or `none`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted. `none` is for servers on the same machine."""
    username: str = ""
    """User name of the login. Empty: no login."""
    password: str = ""
    """Password of the login. `passwordFile` keeps it out of the file."""
    password_file: str = ""
    """Path of a file that contains the password of the login."""
    from_: str = Field(alias="from")
    """Sender, such as `PipeCD <pipecd@example.com>`."""
    to: Sequence[str] = Field(min_length=1, max_length=100)
    """Recipients."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.password and self.password_file:
            raise ValueError("only one of password and passwordFile can be given")
        if bool(self.username) != bool(self.password or self.password_file):
            raise ValueError("username and passwordFile must be given together")
        if self.username and self.security == "none":
            raise ValueError("security: none would send the password unencrypted")
        return self

    @field_validator("from_", "to")
    @classmethod
    def _addresses(cls, value: str | Sequence[str]) -> str | Sequence[str]:
        for text in [value] if isinstance(value, str) else value:
            _email_address(text)
        return value

    @property
    def port_number(self) -> int:
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]

    @property
    def sender(self) -> Address:
        return _email_address(self.from_)

    @property
    def recipients(self) -> Sequence[Address]:
        return [_email_address(text) for text in self.to]


def _email_address(text: str) -> Address:
    """An address such as `PipeCD <pipecd@example.com>`. Raises ValueError."""
    addresses: Sequence[Address] = ()
    # The parser raises IndexError for some texts.
    with suppress(ValueError, IndexError):
        addresses = cast(Any, HeaderRegistry()("To", text)).addresses if text.isprintable() else ()
    if len(addresses) != 1 or not addresses[0].domain or not addresses[0].username:
        raise ValueError(f"{text!r} is not an e-mail address")
    return addresses[0]


class Apprise(LenientModel):
    urls: Sequence[str] = ()
    """Addresses of services, as the library apprise defines them, such as `ntfy://topic`."""
    urls_file: str = ""
    """Path of a file with such addresses, one a line, instead of `urls`."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if bool(self.urls) == bool(self.urls_file):
            raise ValueError("exactly one of urls and urlsFile must be given")
        return self


class Receiver(LenientModel):
    name: str = Field(min_length=1)
    """Unique name of the receiver; routes refer to it."""
    slack: Slack | None = None
    """Send messages to Slack."""
    webhook: Webhook | None = None
    """Send events to an HTTP server."""
    email: Email | None = None
    """Send e-mails. Not in PipeCD."""
    apprise: Apprise | None = None
    """Send messages to other services by the library apprise. Not in PipeCD."""

    @model_validator(mode="after")
    def _one_destination(self) -> Self:
        if sum(each is not None for each in (self.slack, self.webhook, self.email, self.apprise)) != 1:
            raise ValueError("exactly one of slack, webhook, email and apprise must be given")
        return self


class ProjectReceiver(Receiver):
    """A receiver of a project, which the control plane notifies. It says itself what it gets: no routes."""

    events: Sequence[str] = ()
    """Only these events: `PIPED_OFFLINE`, `PIPED_ONLINE`. Empty: all of them."""
    piped_ids: Sequence[str] = Field(default=(), alias="pipedIDs")
    """Only events of the agents with these ids. Empty: all agents of the project."""

    @field_validator("events")
    @classmethod
    def _known_events(cls, value: Sequence[str]) -> Sequence[str]:
        return _known(value, CONTROL_PLANE_EVENTS, "event of the control plane")

    def gets(self, event: PipedEvent) -> bool:
        return (not self.events or event.name in self.events) and (
            not self.piped_ids or event.piped_id in self.piped_ids
        )


class Notifications(LenientModel):
    routes: Sequence[Route] = ()
    """Which events are sent to which receiver."""
    receivers: Sequence[Receiver] = ()
    """Where notifications can be sent."""

    @model_validator(mode="after")
    def _known_receivers(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        if len({*names}) < len(names):
            raise ValueError("receivers: each name can be given once")
        for route in self.routes:
            if route.receiver not in names:
                known = f"known are {', '.join(names)}" if names else "receivers is empty"
                raise ValueError(f"routes: there is no receiver {route.receiver!r}: {known}")
        return self
