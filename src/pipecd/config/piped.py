"""The agent's configuration file (`kind: Piped`). Unknown keys are ignored, as in PipeCD."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, field_validator, model_validator

from pipecd.config.decode import LenientModel, Unused, decode
from pipecd.config.document import Document, locating_errors, parse, parse_kind
from pipecd.config.named_file import read_named_file
from pipecd.config.notifications import Notifications
from pipecd.config.spelling import SpelledBool, SpelledFloat, SpelledInt
from pipecd.config.tracing import AgentTracing
from pipecd.config.values import (
    Base64,
    Duration,
    HttpUrl,
    Interval,
    KindName,
    Text,
    check_unique,
    text_of_base64,
)
from pipecd.errors import ConfigError, Place

KIND = "Piped"
MASK = "******"


def decode_base64(value: str, key: str) -> str:
    """The text in the base64 of `key`. Raises ConfigError."""
    try:
        return text_of_base64(value)
    except ValueError as error:
        raise ConfigError("is not base64", remedy="encode it: base64 < FILE", place=Place(key=key)) from error


class Git(LenientModel):
    username: str = "piped"
    """User name for Git over HTTPS, and the author of commits that the agent makes."""
    email: str = "pipecd.dev@gmail.com"
    """Email address of the author of commits that the agent makes."""
    ssh_config_file_path: str = ""
    """Path of an SSH client configuration file. Default: the SSH client's own."""
    host: Annotated[str, Unused("the SSH key is offered to every host")] = "github.com"
    """Not used: the SSH key is offered to every host. Accepted for compatibility with PipeCD."""
    host_name: Annotated[str, Unused("write the host into spec.git.sshConfigFilePath")] = ""
    """Not used: an SSH configuration file can name the host. Accepted for compatibility with PipeCD."""
    ssh_key_file: str = ""
    """Path of the private SSH key for SSH remotes."""
    ssh_key_data: Base64 = ""
    """The private SSH key in base64, instead of `sshKeyFile`."""
    password: Base64 = ""
    """Password or access token for HTTPS remotes, in base64. Cannot be combined with an SSH key."""
    submodule_hosts: Sequence[str] = ()
    """Hosts, besides those of `repositories`, that submodules and LFS files of a repository may be on."""

    @model_validator(mode="after")
    def _at_most_one_credential(self) -> Self:
        if self.ssh_key_file and self.ssh_key_data:
            raise ValueError("only one of sshKeyFile and sshKeyData can be given")
        if self.password and (self.ssh_key_file or self.ssh_key_data):
            raise ValueError("password and an SSH key cannot both be given")
        return self


class GitHost(LenientModel):
    host: str = Field(min_length=1)
    """Name of the host, as in the remotes of `repositories`, such as `github.com`."""
    type: Literal["", "GITHUB", "GITLAB", "BITBUCKET", "BITBUCKET_SERVER", "GITEA"] = ""
    """API of the host; can be left out for github.com, gitlab.com, bitbucket.org, gitea.com and codeberg.org.
    `BITBUCKET` is Bitbucket Cloud, `BITBUCKET_SERVER` Bitbucket Data Center; `GITEA` is also Forgejo.
    """
    token_file: str = ""
    """Path of a file that contains the access token. It is read for each pull request."""
    token_data: Base64 = ""
    """The access token in base64, instead of `tokenFile`."""
    username: str = ""
    """Email address of the Atlassian account, if the token is an API token of Bitbucket Cloud. Empty for an
    access token of a repository, a project or a workspace.
    """
    api_url: HttpUrl = Field(default="", alias="apiURL")
    """URL of the API. Default: the usual one of the type on this host; of GitHub Enterprise Server, for
    example, `https://HOST/api/v3`.
    """

    @field_validator("host")
    @classmethod
    def _name_only(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.-]+", value):
            raise ValueError(f"{value!r} is not the name of a host; write it without scheme, port and path")
        return value.lower()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.forge:
            raise ValueError(f"type must be given: the API of {self.host} is unknown")
        if bool(self.token_file) == bool(self.token_data):
            raise ValueError("exactly one of tokenFile and tokenData must be given")
        if self.username and self.forge != "BITBUCKET":
            raise ValueError("username can only be given with type BITBUCKET")
        return self

    @property
    def forge(self) -> str:
        """The type, given or known; empty if neither."""
        return self.type or _KNOWN_GIT_HOSTS.get(self.host, "")


_KNOWN_GIT_HOSTS: Mapping[str, str] = {
    "github.com": "GITHUB",
    "gitlab.com": "GITLAB",
    "bitbucket.org": "BITBUCKET",
    "gitea.com": "GITEA",
    "codeberg.org": "GITEA",
}


class Repository(LenientModel):
    repo_id: str = Field(min_length=1)
    """Unique id of the repository in this file; applications refer to it."""
    remote: str = Field(min_length=1)
    """URL of the repository, such as `git@github.com:shop/config.git` or `https://…`."""
    branch: str = Field(min_length=1)
    """The branch that is deployed."""


class ChartRepository(LenientModel):
    type: Literal["HTTP", "GIT"] = "HTTP"
    """How the charts are served: by a Helm repository over HTTP, or from a Git repository."""
    name: str = ""
    """Name by which applications refer to the repository; required for `HTTP`."""
    address: HttpUrl = ""
    """URL of the Helm repository; required for `HTTP`."""
    username: str = ""
    """User name for the Helm repository."""
    password: str = ""
    """Password for the Helm repository."""
    insecure: bool = False
    """Do not verify the TLS certificate of the Helm repository."""
    git_remote: str = ""
    """URL of the Git repository; required for `GIT`."""
    ssh_key_file: str = ""
    """Path of the private SSH key for the Git repository. Empty: the agent's own credentials."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type == "HTTP" and not (self.name and self.address):
            raise ValueError("name and address must be given")
        if self.type == "HTTP" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"the name {self.name!r} is not one of letters, digits, dots and dashes")
        if self.type == "GIT" and not self.git_remote:
            raise ValueError("gitRemote must be given")
        return self


class ChartRegistry(LenientModel):
    type: Literal["OCI"] = "OCI"
    """Type of the registry."""
    address: str = Field(min_length=1)
    """Host name of the registry, such as `registry.example.com`, with or without `oci://`."""
    username: str = ""
    """User name for the registry."""
    password: str = ""
    """Password for the registry."""


class PlatformProvider(LenientModel):
    """`config` is decoded by the platform of `type`."""

    name: str = Field(min_length=1)
    """Unique name of the provider; applications select it when they are registered."""
    type: KindName
    """Name of the platform, such as `TERRAFORM`."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """Labels that `resourceRoutes` of applications select the provider by."""
    config: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the platform; the keys depend on `type`."""

    @field_validator("config", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value


class AnalysisProvider(LenientModel):
    name: str = Field(min_length=1)
    """Unique name of the provider; ANALYSIS stages refer to it."""
    type: Literal["PROMETHEUS", "DATADOG", "STACKDRIVER", "CLOUDWATCH", "LOKI"]
    """Type of the service. `CLOUDWATCH` and `LOKI` are not in PipeCD."""
    config: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the metrics service; the keys depend on `type`."""
    link_template: str = Field(default="", max_length=2000, pattern="^(https?://.*)?$")
    """URL of the provider's own graph, to which the console links. A template: `{{ .Query }}` is the query,
    encoded for a URL; `{{ .Start }}` and `{{ .End }}` are times in milliseconds since 1970, and
    `{{ .StartSeconds }}` and `{{ .EndSeconds }}` in seconds. Not in PipeCD.
    """


class KeyPair(LenientModel):
    private_key_file: str = ""
    """Path of the RSA private key (PEM) that decrypts secrets."""
    private_key_data: Base64 = ""
    """The private key (PEM) in base64, instead of `privateKeyFile`."""
    public_key_file: str = ""
    """Path of the RSA public key (PEM) that the control plane encrypts secrets with."""
    public_key_data: Base64 = ""
    """The public key (PEM) in base64, instead of `publicKeyFile`."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if bool(self.private_key_file) == bool(self.private_key_data):
            raise ValueError("exactly one of privateKeyFile and privateKeyData must be given")
        if bool(self.public_key_file) == bool(self.public_key_data):
            raise ValueError("exactly one of publicKeyFile and publicKeyData must be given")
        return self


class SecretManagement(LenientModel):
    type: Literal["KEY_PAIR"]
    """How secrets are encrypted."""
    config: KeyPair
    """The agent's key pair."""


class EventRepository(LenientModel):
    repo_id: str = Field(min_length=1)
    """Id of a repository in `repositories`."""
    commit_message: str = ""
    """Message of the commits that the event watcher makes. Empty: a default message."""
    includes: Sequence[str] = ()
    """Only event watcher files that match one of these glob patterns. Empty: all files."""
    excludes: Sequence[str] = ()
    """No event watcher files that match one of these glob patterns; takes precedence over `includes`."""


class EventWatcher(LenientModel):
    check_interval: Interval = timedelta(minutes=1)
    """Interval of checks for new events."""
    git_repos: Sequence[EventRepository] = ()
    """Settings for event watcher files in the `.pipe` directory of repositories."""
    max_age: Interval = timedelta(hours=24)
    """An event that is older than this is not handled any more. Not in PipeCD, where it is one hour."""


class PlanPreview(LenientModel):
    worker_num: int = Field(default=3, ge=0)
    """Maximum number of plan previews at the same time; 0 means the default."""
    command_queue_buffer_size: Annotated[int, Unused("waiting requests stay in the control plane")] = Field(
        default=10, ge=0
    )
    """Not used: waiting requests stay in the control plane."""
    command_check_interval: Interval = timedelta(seconds=5)
    """Polling interval of plan preview requests, in addition to change notifications; 0 means 5s."""
    command_handle_timeout: Duration = timedelta(minutes=5)
    """Timeout of a plan preview that does not specify one itself."""


def _host_and_port(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if separator and scheme in ("http", "https"):
        raise ValueError(f"is a URL: write host:port, such as {rest.rstrip('/')}")
    return address


def _is_sendable(text: str) -> bool:
    """Whether a header can contain it, as gRPC requires of each part of the credential."""
    return text.isascii() and text.isprintable()


def _identifier(value: str) -> str:
    if not _is_sendable(value):
        raise ValueError("contains characters outside of ASCII: copy it from the console")
    return value


class Access(LenientModel):
    """The fields needed to connect to the control plane as an agent; the only ones the launcher reads."""

    project_id: Annotated[str, AfterValidator(_identifier)] = Field(min_length=1, alias="projectID")
    """Id of the project that the agent belongs to."""
    piped_id: Annotated[str, AfterValidator(_identifier)] = Field(min_length=1, alias="pipedID")
    """Id of the agent, shown by the console when the agent is registered."""
    piped_key_file: str = ""
    """Path of a file that contains the agent's key."""
    piped_key_data: Base64 = ""
    """The agent's key in base64, instead of `pipedKeyFile`."""
    api_address: Annotated[str, AfterValidator(_host_and_port)] = Field(min_length=1)
    """Address of the control plane's gRPC port, as `host:port`."""

    @model_validator(mode="after")
    def _exactly_one_key(self) -> Self:
        if bool(self.piped_key_file) == bool(self.piped_key_data):
            raise ValueError("exactly one of pipedKeyFile and pipedKeyData must be given")
        return self


class PipedSpec(Access):
    name: Annotated[str, Unused("the control plane has the agent's name")] = ""
    """Not used: the control plane has the agent's name. Accepted for compatibility with PipeCD."""
    web_address: HttpUrl = ""
    """URL of the console, for links. Default: the address that the control plane reports."""
    sync_interval: Interval = timedelta(minutes=1)
    """Polling interval of Git branches, in addition to webhooks."""
    app_config_sync_interval: Interval = timedelta(minutes=1)
    """Polling interval of application configuration files."""
    git: Git = Git()
    """Credentials and identity for Git."""
    git_hosts: Sequence[GitHost] = ()
    """Access to the APIs of Git hosts, for pull requests of the event watcher. Not in PipeCD."""
    repositories: Sequence[Repository] = ()
    """The repositories with the applications that this agent deploys."""
    chart_repositories: Sequence[ChartRepository] = ()
    """Repositories of Helm charts, which `input.helmChart` of applications refers to."""
    chart_registries: Sequence[ChartRegistry] = ()
    """Credentials for OCI registries of Helm charts."""
    platform_providers: Sequence[PlatformProvider] = ()
    """The clouds and clusters that this agent deploys to."""
    cloud_providers: Sequence[PlatformProvider] = ()
    """Former name of `platformProviders`; entries of both are used. Deprecated."""
    analysis_providers: Sequence[AnalysisProvider] = ()
    """The services that ANALYSIS stages query."""
    notifications: Notifications = Notifications()
    """Which events are sent to which receivers."""
    secret_management: SecretManagement | None = None
    """The key pair that decrypts secrets in Git. Without it, encrypted secrets are refused."""
    event_watcher: EventWatcher = EventWatcher()
    """Settings of the event watcher."""
    plan_preview: PlanPreview = PlanPreview()
    """Settings of plan previews."""
    tracing: AgentTracing = AgentTracing()
    """Export of traces by OTLP. Not in PipeCD."""
    app_selector: Mapping[str, Text] = Field(default_factory=dict)
    """Deploy only applications that have all of these labels. Empty: all applications."""

    @model_validator(mode="after")
    def _unique_repository_ids(self) -> Self:
        check_unique([repository.repo_id for repository in self.repositories], "repositories: repoId")
        return self

    @model_validator(mode="after")
    def _unique_git_hosts(self) -> Self:
        if len({git_host.host for git_host in self.git_hosts}) < len(self.git_hosts):
            raise ValueError("gitHosts: each host can be given once")
        return self

    @property
    def providers(self) -> Sequence[PlatformProvider]:
        """All platform providers, from the current and the former key."""
        return [*self.platform_providers, *self.cloud_providers]


def load(text: str, file: str) -> PipedSpec:
    """Decode the file. Raises ConfigError, which names file, line, key and remedy."""
    return decode_spec(read_document(text, file))


def read_document(text: str, file: str) -> Document:
    """Parse the file, for `decode_spec` and `mask_secrets`. Raises ConfigError."""
    return parse_kind(text, file, KIND, program="the agent")


def decode_spec(document: Document) -> PipedSpec:
    """Raises ConfigError, which names file, line, key and remedy."""
    return decode(PipedSpec, document.spec, document, ("spec",))


def load_access(text: str, file: str) -> tuple[Access, str]:
    """The fields of `Access` alone, and the agent's key. Raises ConfigError.

    Whether the other fields are valid depends on the agent's version.
    """
    document = read_document(text, file)
    access = decode(Access, document.spec, document, ("spec",))
    with locating_errors(document):
        return access, piped_key(access)


def piped_key(spec: Access) -> str:
    """The agent's key, from the file or the data, without surrounding whitespace. Raises ConfigError."""
    if spec.piped_key_data:
        name = "spec.pipedKeyData"
        key = decode_base64(spec.piped_key_data, name).strip()
    else:
        name = "spec.pipedKeyFile"
        key = read_named_file(spec.piped_key_file, name)
    if not key or not _is_sendable(key):
        raise ConfigError(
            "the key is not one line of ASCII characters",
            remedy="copy it from the console again",
            place=Place(key=name),
        )
    return key


_SECRET_WORDS = ("password", "token", "key", "hookurl", "signature", "credentials", "serviceaccount")
_NOT_SECRET = ("signaturekey", "publickeydata", "publickeyfile", "keyname")


def mask_secrets(document: Document) -> str:
    """The file as YAML with every secret masked, for display in the console."""
    return yaml.dump({"kind": document.kind, "spec": _mask(document.spec)}, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Writes numbers and booleans as they were written."""


_Dumper.add_representer(
    SpelledBool, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:bool", value.text)
)
_Dumper.add_representer(
    SpelledInt, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:int", value.text)
)
_Dumper.add_representer(
    SpelledFloat, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", value.text)
)


def secret_values(text: str, file: str) -> list[str]:
    """All secrets in the file, verbatim and base64-decoded, for redaction."""
    return secrets_in(parse(text, file).spec)


def secrets_in(value: Any) -> list[str]:
    """The values of keys that are named like secrets, verbatim and base64-decoded."""
    secrets = _find_secrets(value)
    return [*secrets, *(plain for value in secrets if (plain := _try_decode(value)))]


def _find_secrets(value: Any) -> list[str]:
    if isinstance(value, list):
        return [secret for item in value for secret in _find_secrets(item)]
    if not isinstance(value, Mapping):
        return []
    direct = [
        item
        for key, values in value.items()
        if _is_secret(str(key))
        for item in (values if isinstance(values, list) else [values])
        if isinstance(item, str)
    ]
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
    return name not in _NOT_SECRET and (name == "urls" or any(word in name for word in _SECRET_WORDS))
