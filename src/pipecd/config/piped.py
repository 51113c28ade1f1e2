"""The agent's configuration file (`kind: Piped`). Unknown keys are ignored, as in PipeCD."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from pipecd.config.decode import LenientModel, decode
from pipecd.config.document import Document, parse
from pipecd.config.values import Duration, Text
from pipecd.errors import ConfigError, Place

KIND = "Piped"
MASK = "******"


def decode_base64(value: str, key: str) -> str:
    """Decode standard base64, ignoring line breaks; the format of all `…Data` fields. Raises ConfigError."""
    try:
        return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{key} is not base64", remedy="encode it: base64 < the-file") from error


class Git(LenientModel):
    username: str = "piped"
    email: str = "pipecd.dev@gmail.com"
    ssh_config_file_path: str = ""
    host: str = "github.com"
    host_name: str = ""
    ssh_key_file: str = ""
    ssh_key_data: str = ""
    #: base64; for HTTPS remotes. Cannot be combined with an SSH key.
    password: str = ""

    @model_validator(mode="after")
    def _at_most_one_credential(self) -> Self:
        if self.ssh_key_file and self.ssh_key_data:
            raise ValueError("only one of sshKeyFile and sshKeyData can be given")
        if self.password and (self.ssh_key_file or self.ssh_key_data):
            raise ValueError("password and an SSH key cannot both be given")
        return self


class Repository(LenientModel):
    repo_id: str = Field(min_length=1)
    remote: str = Field(min_length=1)
    branch: str = Field(min_length=1)


class ChartRepository(LenientModel):
    type: Literal["HTTP", "GIT"] = "HTTP"
    name: str = ""
    address: str = ""
    username: str = ""
    password: str = ""
    insecure: bool = False
    git_remote: str = ""
    ssh_key_file: str = ""


class ChartRegistry(LenientModel):
    type: Literal["OCI"] = "OCI"
    address: str = Field(min_length=1)
    username: str = ""
    password: str = ""


class PlatformProvider(LenientModel):
    """`config` is decoded by the platform of `type`."""

    name: str = Field(min_length=1)
    type: Literal["KUBERNETES", "TERRAFORM", "CLOUDRUN", "LAMBDA", "ECS"]
    labels: Mapping[str, Text] = Field(default_factory=dict)
    config: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("config", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value


class AnalysisProvider(LenientModel):
    name: str = Field(min_length=1)
    type: Literal["PROMETHEUS", "DATADOG", "STACKDRIVER"]
    config: Mapping[str, Any] = Field(default_factory=dict)


class Route(LenientModel):
    name: str = ""
    receiver: str = Field(min_length=1)
    events: Sequence[str] = ()
    ignore_events: Sequence[str] = ()
    groups: Sequence[str] = ()
    ignore_groups: Sequence[str] = ()
    apps: Sequence[str] = ()
    ignore_apps: Sequence[str] = ()
    labels: Mapping[str, Text] = Field(default_factory=dict)
    ignore_labels: Mapping[str, Text] = Field(default_factory=dict)


class Slack(LenientModel):
    hook_url: str = ""
    oauth_token: str = ""
    oauth_token_data: str = ""
    oauth_token_file: str = ""
    channel_id: str = ""
    mentioned_accounts: Sequence[str] = ()
    mentioned_groups: Sequence[str] = ()


class Webhook(LenientModel):
    url: str = Field(min_length=1)
    signature_key: str = "PipeCD-Signature"
    signature_value: str = ""
    signature_value_file: str = ""


class Receiver(LenientModel):
    name: str = Field(min_length=1)
    slack: Slack | None = None
    webhook: Webhook | None = None


class Notifications(LenientModel):
    routes: Sequence[Route] = ()
    receivers: Sequence[Receiver] = ()


class KeyPair(LenientModel):
    private_key_file: str = ""
    private_key_data: str = ""
    public_key_file: str = ""
    public_key_data: str = ""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if bool(self.private_key_file) == bool(self.private_key_data):
            raise ValueError("exactly one of privateKeyFile and privateKeyData must be given")
        if bool(self.public_key_file) == bool(self.public_key_data):
            raise ValueError("exactly one of publicKeyFile and publicKeyData must be given")
        return self


class SecretManagement(LenientModel):
    type: Literal["KEY_PAIR"]
    config: KeyPair


class EventRepository(LenientModel):
    repo_id: str = Field(min_length=1)
    commit_message: str = ""
    includes: Sequence[str] = ()
    excludes: Sequence[str] = ()


class EventWatcher(LenientModel):
    check_interval: Duration = timedelta(minutes=1)
    git_repos: Sequence[EventRepository] = ()


class PlanPreview(LenientModel):
    worker_num: int = Field(default=3, ge=0)
    command_queue_buffer_size: int = Field(default=10, ge=0)
    command_check_interval: Duration = timedelta(seconds=5)
    command_handle_timeout: Duration = timedelta(minutes=5)


class Access(LenientModel):
    """The fields needed to connect to the control plane as an agent; the only ones the launcher reads."""

    project_id: str = Field(min_length=1)
    piped_id: str = Field(min_length=1)
    piped_key_file: str = ""
    piped_key_data: str = ""
    api_address: str = Field(min_length=1)

    @model_validator(mode="after")
    def _exactly_one_key(self) -> Self:
        if bool(self.piped_key_file) == bool(self.piped_key_data):
            raise ValueError("exactly one of pipedKeyFile and pipedKeyData must be given")
        return self


class PipedSpec(Access):
    name: str = ""
    web_address: str = ""
    sync_interval: Duration = timedelta(minutes=1)
    app_config_sync_interval: Duration = timedelta(minutes=1)
    git: Git = Git()
    repositories: Sequence[Repository] = ()
    chart_repositories: Sequence[ChartRepository] = ()
    chart_registries: Sequence[ChartRegistry] = ()
    platform_providers: Sequence[PlatformProvider] = ()
    #: Former name of `platformProviders`.
    cloud_providers: Sequence[PlatformProvider] = ()
    analysis_providers: Sequence[AnalysisProvider] = ()
    notifications: Notifications = Notifications()
    secret_management: SecretManagement | None = None
    event_watcher: EventWatcher = EventWatcher()
    plan_preview: PlanPreview = PlanPreview()
    app_selector: Mapping[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _unique_repository_ids(self) -> Self:
        ids = [repository.repo_id for repository in self.repositories]
        duplicates = sorted({name for name in ids if ids.count(name) > 1})
        if duplicates:
            raise ValueError(f"repositories: repoId {', '.join(duplicates)} is given twice")
        return self

    @property
    def providers(self) -> Sequence[PlatformProvider]:
        """All platform providers, from the current and the former key."""
        return [*self.platform_providers, *self.cloud_providers]


def load(text: str, file: str) -> PipedSpec:
    """Decode the file. Raises ConfigError, which names file, line, key and remedy."""
    document = _parse(text, file)
    return decode(PipedSpec, document.spec, document, ("spec",))


def load_access(text: str, file: str) -> Access:
    """Decode only the fields of `Access`; whether the others are valid depends on the agent's version."""
    document = _parse(text, file)
    return decode(Access, document.spec, document, ("spec",))


def _parse(text: str, file: str) -> Document:
    document = parse(text, file)
    if document.kind != KIND:
        raise ConfigError(
            f"kind is {document.kind}, not {KIND}",
            remedy="use a configuration file of the agent",
            place=document.place(("kind",)),
        )
    return document


def piped_key(spec: Access) -> str:
    """The agent's key, from the file or the data, without surrounding whitespace. Raises ConfigError."""
    if spec.piped_key_data:
        return decode_base64(spec.piped_key_data, "spec.pipedKeyData").strip()
    try:
        return Path(spec.piped_key_file).read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"the key cannot be read: {error.strerror}",
            remedy="write the key shown by the console to this file",
            place=Place(spec.piped_key_file, key="spec.pipedKeyFile"),
        ) from error


_SECRET_WORDS = ("password", "token", "key", "hookurl", "signature", "credentialsfile", "serviceaccount")
_NOT_SECRET = ("signaturekey", "publickeydata", "publickeyfile", "keyname")


def mask_secrets(text: str, file: str) -> str:
    """The file as YAML with every secret masked, for display in the console."""
    document = parse(text, file)
    return yaml.safe_dump({"kind": document.kind, "spec": _mask(document.spec)}, sort_keys=False)


def secret_values(text: str, file: str) -> list[str]:
    """All secrets in the file, verbatim and base64-decoded, for redaction."""
    secrets = _find_secrets(parse(text, file).spec)
    return [*secrets, *(plain for value in secrets if (plain := _try_decode(value)))]


def _find_secrets(value: Any) -> list[str]:
    if isinstance(value, list):
        return [secret for item in value for secret in _find_secrets(item)]
    if not isinstance(value, Mapping):
        return []
    direct = [item for key, item in value.items() if isinstance(item, str) and _is_secret(str(key))]
    paths = {item for key, item in value.items() if str(key).lower().endswith("file")}
    return [item for item in direct if item not in paths] + [
        secret for item in value.values() for secret in _find_secrets(item)
    ]


def _try_decode(value: str) -> str:
    """The base64-decoded value; empty if it is not base64."""
    try:
        return decode_base64(value, "")
    except ConfigError:
        return ""


def _mask(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: MASK if _is_secret(str(key)) and item else _mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mask(item) for item in value]
    return value


def _is_secret(key: str) -> bool:
    name = key.lower()
    return name not in _NOT_SECRET and any(word in name for word in _SECRET_WORDS)
