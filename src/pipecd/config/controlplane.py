"""The control plane's configuration file (`kind: ControlPlane`).

Contains PipeCD's fields, and additional ones: the embedded datastore (`SQLITE`, the default) and filestore
(`LOCAL`, the default), `POSTGRESQL`, `webhooks` and `trustedProxies`. Storage types that are known but not
supported raise a ConfigError at startup.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    Field,
    IPvAnyNetwork,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from pipecd.config.decode import (
    LenientModel,
    StrictModel,
    Unused,
    ZeroCounts,
    decode,
    keys_without_effect,
    normalize_keys,
)
from pipecd.config.document import Document, parse_kind
from pipecd.config.named_file import read_named_file
from pipecd.config.notifications import ProjectReceiver
from pipecd.config.sso import MAX_SESSION_HOURS, SSO, SharedSSO, UserGroup
from pipecd.config.tracing import Tracing
from pipecd.config.values import Duration, HttpUrl, check_unique
from pipecd.errors import ConfigError, Place
from pipecd.model.access import BUILT_IN, is_role_name
from pipecd.model.policy_text import WrittenPolicy, parse_policies

KIND = "ControlPlane"


class Datastore(StrictModel):
    type: Literal["SQLITE", "POSTGRESQL", "MYSQL", "FIRESTORE"] = "SQLITE"
    """The database of all records. `MYSQL` and `FIRESTORE` are PipeCD's and not supported."""
    config: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the database; the keys depend on `type`."""


class SqliteConfig(LenientModel):
    path: str = "pipecd.db"
    """Path of the database file. It is created if it does not exist."""


class SqlServerConfig(LenientModel):
    """`url` contains no credentials, such as `postgresql://db:5432`; they are read from the files."""

    url: str = Field(min_length=1)
    """Address of the server without credentials, such as `postgresql://db:5432`."""
    database: str = "pipecd"
    """Name of the database."""
    username_file: str = ""
    """Path of a file that contains the user name."""
    password_file: str = ""
    """Path of a file that contains the password."""


class Filestore(StrictModel):
    type: Literal["LOCAL", "S3", "GCS", "MINIO"] = "LOCAL"
    """Where objects are stored: stage logs, plans, command outputs."""
    config: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the object store; the keys depend on `type`."""


class LocalFilesConfig(LenientModel):
    path: str = "pipecd-files"
    """Path of the directory. It is created if it does not exist."""


class S3Config(LenientModel):
    """Without credentials, those of the environment or of the machine's role are used."""

    bucket: str = Field(min_length=1)
    """Name of the bucket."""
    region: str = ""
    """AWS region of the bucket."""
    endpoint: HttpUrl = ""
    """URL of an S3-compatible server. Not in PipeCD, where `MINIO` is the type for MinIO."""
    access_key_file: str = ""
    """Path of a file that contains the access key id."""
    secret_key_file: str = ""
    """Path of a file that contains the secret access key."""
    profile: str = ""
    """Profile in the credentials file."""
    credentials_file: str = ""
    """Path of an AWS credentials file."""
    role_arn: str = Field(default="", alias="roleARN")
    """ARN of a role to assume with the token in `tokenFile`."""
    token_file: str = ""
    """Path of a web identity token (OIDC)."""

    @model_validator(mode="after")
    def _complete_pairs(self) -> Self:
        if bool(self.role_arn) != bool(self.token_file):
            raise ValueError("roleARN and tokenFile must be given together")
        if bool(self.access_key_file) != bool(self.secret_key_file):
            raise ValueError("accessKeyFile and secretKeyFile must be given together")
        return self


class MinioConfig(LenientModel):
    endpoint: str = Field(min_length=1)
    """URL of the MinIO server."""
    bucket: str = Field(min_length=1)
    """Name of the bucket."""
    access_key_file: str = Field(min_length=1)
    """Path of a file that contains the access key."""
    secret_key_file: str = Field(min_length=1)
    """Path of a file that contains the secret key."""
    auto_create_bucket: bool = False
    """Create the bucket at startup if it does not exist."""


class GCSConfig(LenientModel):
    """Without a file, the credentials of the environment or of the machine's service account are used."""

    bucket: str = Field(min_length=1)
    """Name of the bucket."""
    credentials_file: str = ""
    """Path of a service account's key file (JSON)."""


class Cache(LenientModel):
    ttl: Annotated[Duration, Unused("nothing is cached for a configured time")] = timedelta(minutes=5)
    """Not used: nothing is cached for a configured time. Accepted for compatibility with PipeCD."""


_PASSWORD_HASH = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=\d+)?\$m=\d+,t=\d+,p=\d+(?:\$[A-Za-z0-9+/]+){2}"
    r"|\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"
)


class StaticAdmin(StrictModel):
    username: str = Field(min_length=1)
    """User name for signing in."""
    password_hash: str = Field(min_length=1)
    """Hash (argon2 or bcrypt) of the password; create one with `pipecd hash-password`."""

    @model_validator(mode="after")
    def _is_a_hash(self) -> Self:
        if not _PASSWORD_HASH.fullmatch(self.password_hash):
            raise ValueError(
                "passwordHash is not a complete hash: write the output of `pipecd hash-password`"
            )
        return self


class ProjectNotifications(StrictModel):
    """Notifications of the control plane: that an agent of the project is offline, and online again."""

    receivers: Sequence[ProjectReceiver] = Field(default=(), max_length=50)
    """Who is notified when an agent of the project is offline for two minutes, and when it is back."""

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        if len({*names}) < len(names):
            raise ValueError("receivers: each name can be given once")
        return self


class Role(StrictModel):
    """A role besides `Admin`, `Editor` and `Viewer`."""

    name: str
    """Name of the role: up to 63 letters, digits, `-` and `_`, a letter first."""
    policies: Sequence[str] = Field(min_length=1, max_length=100)
    """What it allows, in PipeCD's format, such as `resources=application{env:dev};actions=get,list`."""

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.name in BUILT_IN:
            raise ValueError(f"{self.name} is a built-in role, which cannot be changed")
        if not is_role_name(self.name):
            raise ValueError(f"{self.name!r} is not a role's name: use letters, digits, - and _")
        for text in self.policies:
            self._parse(text)
        return self

    @property
    def written_policies(self) -> Sequence[WrittenPolicy]:
        return [policy for text in self.policies for policy in self._parse(text)]

    @staticmethod
    def _parse(text: str) -> Sequence[WrittenPolicy]:
        try:
            parsed = parse_policies([text])
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if not parsed:
            raise ValueError("a policy is empty")
        return parsed


class Project(StrictModel):
    id: str = Field(min_length=1)
    """Unique id of the project."""
    desc: str = ""
    """Description of the project."""
    static_admin: StaticAdmin | None = None
    """A user with the role Admin, who signs in with a password."""
    shared_sso_name: str = Field(default="", alias="sharedSSOName")
    """Name in `sharedSSOConfigs` of the provider that authenticates the users. Not in PipeCD."""
    sso: SSO | None = None
    """The provider that authenticates the users of this project alone. Not in PipeCD."""
    user_groups: Sequence[UserGroup] = ()
    """The roles of groups of the provider. Not in PipeCD."""
    roles: Sequence[Role] = Field(default=(), max_length=100)
    """Roles of the project besides the built-in ones. Not in PipeCD."""
    allow_stray_as_viewer: bool = False
    """Whether users that are in none of the groups may sign in as Viewer. Not in PipeCD."""
    notifications: ProjectNotifications = ProjectNotifications()
    """Notifications that an agent is offline, and online again. Not in PipeCD."""

    @model_validator(mode="after")
    def _one_provider(self) -> Self:
        if self.sso and self.shared_sso_name:
            raise ValueError("only one of sso and sharedSSOName can be given")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _known_roles(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Reported together with errors of roles: a role that has errors is not unknown."""
        problems = list(_unknown_roles(data))
        try:
            project = handler(data)
        except ValidationError as error:
            problems = [*map(_raised_again, error.errors()), *problems]
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return project

    @model_validator(mode="after")
    def _unique_groups_and_roles(self) -> Self:
        check_unique([role.name for role in self.roles], "roles:")
        check_unique([group.sso_group for group in self.user_groups], "userGroups:")
        return self


def _unknown_roles(project: Any) -> Iterator[InitErrorDetails]:
    """Of user groups of a project that is not decoded yet."""
    known = [*BUILT_IN, *(role.get("name") for _, role in _mappings(project, "roles"))]
    for index, group in _mappings(project, "userGroups"):
        role = group.get("role")
        if isinstance(role, str) and role not in known:
            names = ", ".join(str(name) for name in known if name)
            problem = ValueError(f"unknown role {role}; use one of {names}")
            location = ("userGroups", index, "role")
            yield InitErrorDetails(type="value_error", loc=location, input=role, ctx={"error": problem})


def _mappings(data: Any, key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The items of the list `key` that are mappings, with their index."""
    items = data.get(key) if isinstance(data, Mapping) else None
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, Mapping):
            yield index, item


#: Pydantic also raises errors of other types, such as that of a text instead of a list.
_PREDEFINED_ERRORS = frozenset(get_args(ErrorType))


def _raised_again(detail: ErrorDetails) -> InitErrorDetails:
    kind: Any = detail["type"]
    if kind not in _PREDEFINED_ERRORS:
        kind = PydanticCustomError(kind, "{message}", {"message": detail["msg"]})
    return InitErrorDetails(type=kind, loc=detail["loc"], input=detail["input"], ctx=detail.get("ctx", {}))


class NotificationSettings(StrictModel):
    allowed_networks: Sequence[IPvAnyNetwork] = ()
    """Networks such as `10.0.0.0/8` that receivers of the console's settings may be in, besides the internet.

    Receivers of this file may be anywhere.
    """


class WebhookSource(StrictModel):
    """A Git host that may send webhooks; `secret` is the one configured there."""

    provider: Literal["GITHUB", "GITLAB", "BITBUCKET", "GITEA"]
    """The Git host that sends the webhooks."""
    secret: str = ""
    """The webhook's secret as configured at the Git host."""
    secret_file: str = ""
    """Path of a file that contains the webhook's secret."""

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if bool(self.secret) == bool(self.secret_file):
            raise ValueError("exactly one of secret and secretFile must be given")
        return self

    def read(self, key: str) -> str:
        """The secret, from the configuration or its file. `key` is this source's."""
        return self.secret or read_named_file(self.secret_file, f"{key}.secretFile")


class Keys(StrictModel):
    max_api_key_lifetime: Duration = Field(default=timedelta(0), alias="maxAPIKeyLifetime", ge=timedelta(0))
    """The longest lifetime of new API keys, such as `2160h`; `0s` allows keys that do not expire."""
    max_piped_key_lifetime: Duration = Field(default=timedelta(0), ge=timedelta(0))
    """The longest lifetime of new keys of agents, such as `8760h`; `0s` allows keys that do not expire."""


class Audit(StrictModel):
    retention: Duration = Field(default=timedelta(0), ge=timedelta(0))
    """Age at which rows of the audit log are deleted, such as `9600h`, at least `24h`; `0s` keeps all."""

    @model_validator(mode="after")
    def _not_too_short(self) -> Self:
        if timedelta(0) < self.retention < timedelta(hours=24):
            raise ValueError("retention is shorter than 24h: write 0s to keep all rows")
        return self


class Sessions(StrictModel):
    lifetime: Duration = Field(default=timedelta(days=7), gt=timedelta(0))
    """The longest a session of the console lasts, up to `720h`. `sessionTtl` of a provider overrides it."""
    idle_timeout: Annotated[Duration, ZeroCounts] = Field(default=timedelta(hours=24), ge=timedelta(0))
    """A session that was not used for so long ends, at least `15m`; `0s` ends none. An open tab uses it."""
    groups_check_interval: Annotated[Duration, ZeroCounts] = Field(
        default=timedelta(minutes=15), ge=timedelta(0)
    )
    """How often the provider of single sign-on is asked for the groups of a signed-in user, at least `1m`.

    `0s`: only when the user signs in; then the control plane stores no tokens of the provider.
    """
    groups_max_age: Annotated[Duration, ZeroCounts] = Field(default=timedelta(hours=24), ge=timedelta(0))
    """A session ends if the provider has not confirmed its user's groups for so long, at least `15m`.

    It limits sessions whose provider cannot be asked again, or does not answer. `0s` sets no limit.
    """

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.lifetime > timedelta(hours=MAX_SESSION_HOURS):
            raise ValueError(f"lifetime is longer than {MAX_SESSION_HOURS}h")
        if timedelta(0) < self.idle_timeout < timedelta(minutes=15):
            raise ValueError("idleTimeout is shorter than 15m: write 0s to end no session for not being used")
        if timedelta(0) < self.groups_check_interval < timedelta(minutes=1):
            raise ValueError("groupsCheckInterval is shorter than 1m: write 0s to ask at the sign-in only")
        if timedelta(0) < self.groups_max_age < max(timedelta(minutes=15), self.groups_check_interval):
            raise ValueError("groupsMaxAge is shorter than 15m, or than groupsCheckInterval")
        return self


def _without_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        host = parts.netloc.rpartition("@")[2]
        raise ValueError(
            f"has more than a host and a port: gRPC has paths of its own; write {parts.scheme}://{host}"
        )
    return url


class ControlPlaneSpec(StrictModel):
    address: HttpUrl = ""
    """Public URL of the console."""
    api_url: Annotated[HttpUrl, AfterValidator(_without_path)] = Field(default="", alias="apiURL")
    """Where agents, `pipectl` and CI reach gRPC, such as `https://pipecd.example.com:443`. Not in PipeCD.

    `http` means without TLS. The console shows it in commands. By default, it is the host of `address`: on
    port 443 if that URL is HTTPS and the server is started without `--tls`, because a proxy has the
    certificate then, otherwise on the server's own port.
    """
    state_key: Annotated[str, Unused("sessions are protected with --encryption-key-file")] = ""
    """Not used: sessions are signed with `--encryption-key-file`. Accepted for compatibility with PipeCD."""
    datastore: Datastore = Datastore()
    """The database."""
    filestore: Filestore = Filestore()
    """The object store."""
    cache: Annotated[Cache, Unused("nothing is cached for a configured time")] = Cache()
    """Not used. Accepted for compatibility with PipeCD."""
    insight_collector: Annotated[Mapping[str, Any], Unused("insights need no collection")] = Field(
        default_factory=dict
    )
    """Not used: insights are recorded when a deployment ends. Accepted for compatibility with PipeCD."""
    projects: Sequence[Project] = ()
    """The projects. Each has its own applications, agents, keys and users."""
    shared_sso_configs: Sequence[SharedSSO] = Field(default=(), alias="sharedSSOConfigs")
    """Providers that authenticate the users of projects."""
    webhooks: Sequence[WebhookSource] = ()
    """Git hosts that report pushes. Not in PipeCD."""
    notifications: NotificationSettings = NotificationSettings()
    """Notifications of the control plane. Not in PipeCD."""
    keys: Keys = Keys()
    """Lifetimes of keys. Not in PipeCD."""
    sessions: Sessions = Sessions()
    """Lifetimes of sessions of the console. Not in PipeCD."""
    audit: Audit = Audit()
    """The audit log. Not in PipeCD."""
    tracing: Tracing = Tracing()
    """Export of traces by OTLP. Not in PipeCD, whose control plane forwards them by Envoy."""
    trusted_proxies: Sequence[IPvAnyNetwork] = ()
    """Networks of reverse proxies, such as `10.0.0.0/8`. Not in PipeCD.

    The address of a client is recorded in the audit log, and limits failed sign-ins. `X-Forwarded-For` is
    believed only from these networks; otherwise the client is the other end of the connection.
    """

    @model_validator(mode="after")
    def _unique_project_ids(self) -> Self:
        check_unique([project.id for project in self.projects], "projects: id")
        names = [shared.name for shared in self.shared_sso_configs]
        check_unique(names, "sharedSSOConfigs: name")
        for project in self.projects:
            if project.shared_sso_name and project.shared_sso_name not in names:
                raise ValueError(
                    f"project {project.id}: sharedSSOConfigs contains no {project.shared_sso_name}"
                )
        return self


def load(text: str, file: str) -> ControlPlaneSpec:
    """Decode the file. Raises ConfigError, which names file, line, key and remedy."""
    return decode_spec(read_document(text, file))


def read_document(text: str, file: str) -> Document:
    """Parse the file, for `decode_spec` and `find_keys_without_effect`. Raises ConfigError."""
    return parse_kind(text, file, KIND, program="the control plane")


def decode_spec(document: Document) -> ControlPlaneSpec:
    """Raises ConfigError, which names file, line, key and remedy."""
    spec = decode(ControlPlaneSpec, document.spec, document, ("spec",))
    for key, config_types in (("datastore", DATASTORES), ("filestore", FILESTORES)):
        store = getattr(spec, key)
        if store.type not in config_types:
            raise ConfigError(
                f"{store.type} is not supported",
                remedy=f"use one of {', '.join(config_types)}",
                place=document.place(("spec", key, "type")),
            )
        decode(config_types[store.type], store.config, document, ("spec", key, "config"))
    return spec


def find_keys_without_effect(document: Document) -> Sequence[tuple[Place, str]]:
    """The place of each key of a valid file that has no effect, and why."""
    return list(keys_without_effect(ControlPlaneSpec, document.spec, document, ("spec",)))


DATASTORES: Mapping[str, type[LenientModel]] = {"SQLITE": SqliteConfig, "POSTGRESQL": SqlServerConfig}
FILESTORES: Mapping[str, type[LenientModel]] = {
    "LOCAL": LocalFilesConfig,
    "S3": S3Config,
    "MINIO": MinioConfig,
    "GCS": GCSConfig,
}


def filestore_config(filestore: Filestore) -> LenientModel:
    """The configuration as an instance of its type in `FILESTORES`."""
    return _store_config(filestore, FILESTORES)


def _store_config(
    store: Datastore | Filestore, config_types: Mapping[str, type[LenientModel]]
) -> LenientModel:
    config_type = config_types[store.type]
    return config_type.model_validate(normalize_keys(config_type, store.config))


def database_url(spec: ControlPlaneSpec) -> str:
    """The SQLAlchemy URL of the configured database. Raises ConfigError for an invalid address."""
    server = _store_config(spec.datastore, DATASTORES)
    if isinstance(server, SqliteConfig):
        return f"sqlite:///{Path(server.path).absolute()}"
    assert isinstance(server, SqlServerConfig)
    scheme, _, rest = server.url.partition("://")
    if scheme not in ("postgresql", "postgres") or not rest:
        raise ConfigError(
            f"{server.url!r} is not a PostgreSQL address",
            remedy="write postgresql://host:port",
            place=Place(key="spec.datastore.config.url"),
        )
    login = ""
    if server.username_file:
        # Generated passwords may contain characters that are reserved in URLs.
        login = quote(read_named_file(server.username_file, "spec.datastore.config.usernameFile"), safe="")
        if server.password_file:
            password = read_named_file(server.password_file, "spec.datastore.config.passwordFile")
            login += ":" + quote(password, safe="")
        login += "@"
    return f"postgresql+asyncpg://{login}{rest.rstrip('/')}/{server.database}"
