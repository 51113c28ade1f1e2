"""The control plane's file (`kind: ControlPlane`).

PipeCD's members, and ours: the embedded datastore (`SQLITE`, the default) and filestore (`LOCAL`, the
default), `POSTGRESQL`, and `webhooks`. Kinds of storage that are decoded but not supported are refused
at the start with a sentence.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from pipecd.config.decode import OpenPart, Part, decode, keys_as_declared
from pipecd.config.document import parse
from pipecd.config.values import Duration
from pipecd.errors import ConfigError

KIND = "ControlPlane"


class Datastore(Part):
    type: Literal["SQLITE", "POSTGRESQL", "MYSQL", "FIRESTORE"] = "SQLITE"
    config: Mapping[str, Any] = Field(default_factory=dict)


class SqliteConfig(OpenPart):
    path: str = "pipecd.db"


class SqlServerConfig(OpenPart):
    """`url` without credentials, such as `postgresql://db:5432`; they come from the files."""

    url: str = Field(min_length=1)
    database: str = "pipecd"
    username_file: str = ""
    password_file: str = ""


class Filestore(Part):
    type: Literal["LOCAL", "S3", "GCS", "MINIO"] = "LOCAL"
    config: Mapping[str, Any] = Field(default_factory=dict)


class LocalFilesConfig(OpenPart):
    path: str = "pipecd-files"


class S3Config(OpenPart):
    """Without any credentials here, those of the environment or of the machine's role."""

    bucket: str = Field(min_length=1)
    region: str = ""
    #: Of a server that speaks S3 (ours; `MINIO` is the type for MinIO).
    endpoint: str = ""
    access_key_file: str = ""
    secret_key_file: str = ""
    profile: str = ""
    credentials_file: str = ""
    role_arn: str = Field("", alias="roleARN")
    token_file: str = ""

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if bool(self.role_arn) != bool(self.token_file):
            raise ValueError("roleARN and tokenFile are given together")
        if bool(self.access_key_file) != bool(self.secret_key_file):
            raise ValueError("accessKeyFile and secretKeyFile are given together")
        return self


class MinioConfig(OpenPart):
    endpoint: str = Field(min_length=1)
    bucket: str = Field(min_length=1)
    access_key_file: str = Field(min_length=1)
    secret_key_file: str = Field(min_length=1)
    auto_create_bucket: bool = False


class GCSConfig(OpenPart):
    """Without a file, the credentials of the environment or of the machine's service account."""

    bucket: str = Field(min_length=1)
    credentials_file: str = ""


class Cache(OpenPart):
    ttl: Duration = timedelta(minutes=5)


class StaticAdmin(Part):
    username: str = Field(min_length=1)
    #: argon2 or bcrypt.
    password_hash: str = Field(min_length=1)

    @model_validator(mode="after")
    def _is_a_hash(self) -> Self:
        if not self.password_hash.startswith(("$argon2", "$2a$", "$2b$", "$2y$")):
            raise ValueError("passwordHash is not a hash: make one with `pipecd hash-password`")
        return self


class Project(Part):
    id: str = Field(min_length=1)
    desc: str = ""
    static_admin: StaticAdmin | None = None


class WebhookSource(Part):
    """A Git host that may tell of pushes; the secret is the one entered there."""

    provider: Literal["GITHUB", "GITLAB", "BITBUCKET", "GITEA"]
    secret: str = ""
    secret_file: str = ""

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if bool(self.secret) == bool(self.secret_file):
            raise ValueError("exactly one of secret and secretFile must be given")
        return self

    def read(self) -> str:
        return self.secret or read_file(self.secret_file, "spec.webhooks.secretFile")


class ControlPlaneSpec(Part):
    address: str = ""
    state_key: str = ""
    datastore: Datastore = Datastore()
    filestore: Filestore = Filestore()
    cache: Cache = Cache()
    insight_collector: Mapping[str, Any] = Field(default_factory=dict)
    projects: Sequence[Project] = ()
    shared_sso_configs: Sequence[Mapping[str, Any]] = ()
    webhooks: Sequence[WebhookSource] = ()

    @model_validator(mode="after")
    def _projects_differ(self) -> Self:
        ids = [project.id for project in self.projects]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"projects: id {', '.join(twice)} is given twice")
        return self


def load(text: str, file: str) -> ControlPlaneSpec:
    """Raises ConfigError that names file, line, key and remedy."""
    document = parse(text, file)
    if document.kind != KIND:
        raise ConfigError(
            f"kind is {document.kind}, not {KIND}",
            remedy="give the control plane's own configuration",
            place=document.place(("kind",)),
        )
    spec = decode(ControlPlaneSpec, document.spec, document, ("spec",))
    for part, configs in (("datastore", DATASTORES), ("filestore", FILESTORES)):
        chosen = getattr(spec, part)
        if chosen.type not in configs:
            raise ConfigError(
                f"{chosen.type} is not supported",
                remedy=f"use one of {', '.join(configs)}",
                place=document.place(("spec", part, "type")),
            )
        decode(configs[chosen.type], chosen.config, document, ("spec", part, "config"))
    return spec


DATASTORES: Mapping[str, type[OpenPart]] = {"SQLITE": SqliteConfig, "POSTGRESQL": SqlServerConfig}
FILESTORES: Mapping[str, type[OpenPart]] = {
    "LOCAL": LocalFilesConfig,
    "S3": S3Config,
    "MINIO": MinioConfig,
    "GCS": GCSConfig,
}


def filestore(spec: ControlPlaneSpec) -> OpenPart:
    """The configuration of the chosen kind, one of `FILESTORES`."""
    return _chosen(spec.filestore, FILESTORES)


def _chosen(store: Datastore | Filestore, kinds: Mapping[str, type[OpenPart]]) -> OpenPart:
    kind = kinds[store.type]
    return kind.model_validate(keys_as_declared(kind, store.config))


def database_url(spec: ControlPlaneSpec) -> str:
    """The SQLAlchemy URL of the configured database."""
    server = _chosen(spec.datastore, DATASTORES)
    if isinstance(server, SqliteConfig):
        return f"sqlite+aiosqlite:///{Path(server.path).absolute()}"
    assert isinstance(server, SqlServerConfig)
    scheme, _, rest = server.url.partition("://")
    if scheme not in ("postgresql", "postgres") or not rest:
        raise ConfigError(
            f"{server.url!r} is no address of PostgreSQL", remedy="write postgresql://host:port"
        )
    login = ""
    if server.username_file:
        # Generated passwords have characters that mean something in a URL.
        login = quote(read_file(server.username_file, "spec.datastore.config.usernameFile"), safe="")
        if server.password_file:
            password = read_file(server.password_file, "spec.datastore.config.passwordFile")
            login += ":" + quote(password, safe="")
        login += "@"
    return f"postgresql+asyncpg://{login}{rest.rstrip('/')}/{server.database}"


def read_file(path: str, key: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"{key}: {path} cannot be read: {error.strerror}", remedy="name a file that the server may read"
        ) from error
