"""Where a cluster is, and how to authenticate: from kubeconfig files, or from inside the cluster.

Reads what kubectl reads. Certificates and tokens in files are read when they are used, because they are
rotated.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pipecd.config.decode import decode
from pipecd.config.document import Document, read
from pipecd.errors import ConfigError, Place

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: In bytes. A kubeconfig with a hundred clusters has some hundred kilobytes.
MAX_FILE_SIZE = 4 * 1024 * 1024


class _Model(BaseModel):
    """Part of a kubeconfig, whose other keys are ignored, as by kubectl."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, hide_input_in_errors=True
    )


class ExecVariable(_Model):
    name: str
    value: str = ""


class ExecConfig(_Model):
    """A program that prints credentials, such as those of EKS, GKE and AKS."""

    api_version: str
    command: str = Field(min_length=1)
    args: Sequence[str] | None = None
    env: Sequence[ExecVariable] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: Literal["", "Never", "IfAvailable", "Always"] = ""


class _User(_Model):
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    client_certificate: str = Field(default="", alias="client-certificate")
    client_certificate_data: str = Field(default="", alias="client-certificate-data")
    client_key: str = Field(default="", alias="client-key")
    client_key_data: str = Field(default="", alias="client-key-data")
    exec: ExecConfig | None = None
    auth_provider: Mapping[str, Any] | None = Field(default=None, alias="auth-provider")
    impersonate: str = Field(default="", alias="as")
    impersonate_uid: str = Field(default="", alias="as-uid")
    impersonate_groups: Sequence[str] | None = Field(default=None, alias="as-groups")
    impersonate_extra: Mapping[str, Sequence[str]] | None = Field(default=None, alias="as-user-extra")


class _Cluster(_Model):
    server: str = ""
    certificate_authority: str = Field(default="", alias="certificate-authority")
    certificate_authority_data: str = Field(default="", alias="certificate-authority-data")
    insecure_skip_tls_verify: bool = Field(default=False, alias="insecure-skip-tls-verify")
    tls_server_name: str = Field(default="", alias="tls-server-name")
    proxy_url: str = Field(default="", alias="proxy-url")
    extensions: Sequence[Mapping[str, Any]] | None = None


class _Context(_Model):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedUser(_Model):
    name: str
    user: _User = _User()


class _NamedCluster(_Model):
    name: str
    cluster: _Cluster = _Cluster()


class _NamedContext(_Model):
    name: str
    context: _Context = _Context()


class _Kubeconfig(_Model):
    current_context: str = Field(default="", alias="current-context")
    clusters: Sequence[_NamedCluster] | None = None
    contexts: Sequence[_NamedContext] | None = None
    users: Sequence[_NamedUser] | None = None


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach one cluster. Contents in base64 are as in the file; paths are absolute."""

    #: URL of the API server.
    server: str
    #: Where it was found, for messages: a file and a context, or the service account.
    origin: str
    #: Namespace of the context; empty if it names none.
    namespace: str = ""
    ca_file: str = ""
    ca_data: str = field(default="", repr=False)
    insecure: bool = False
    #: Name in the server's certificate; empty if it is that of the URL.
    tls_server_name: str = ""
    proxy_url: str = ""
    token: str = field(default="", repr=False)
    #: A file with the token, which is rotated. It takes precedence over `token`.
    token_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    client_certificate_file: str = ""
    client_certificate_data: str = field(default="", repr=False)
    client_key_file: str = ""
    client_key_data: str = field(default="", repr=False)
    exec: ExecConfig | None = None
    #: The directory that a relative path of the exec program starts from.
    directory: str = ""
    #: `extensions` of the cluster that are passed to the exec program.
    exec_extension: Any = None
    #: Headers that make the API server act as another user.
    impersonation: Sequence[tuple[str, str]] = ()
    #: The kubeconfig files, which another program may write again.
    files: Sequence[str] = ()


def load_access(
    *,
    path: str = "",
    context: str = "",
    master_url: str = "",
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Access:
    """How to reach the cluster of a platform provider. Raises ConfigError.

    Without `path`: the cluster that the agent runs in, else the files that KUBECONFIG lists. `master_url`
    replaces the address.
    """
    if path:
        access = _from_files([Path(path).expanduser()], context)
    elif "KUBERNETES_SERVICE_HOST" in environ and not context:
        access = _in_cluster(environ, service_account)
    elif environ.get("KUBECONFIG"):
        listed = environ["KUBECONFIG"].split(os.pathsep)
        access = _from_files([Path(name).expanduser() for name in listed if name], context)
    else:
        raise ConfigError(
            "the agent does not run in a Kubernetes cluster, and no kubeconfig is given",
            remedy="set kubeConfigPath of the platform provider",
        )
    return _with_server(access, master_url) if master_url else access


def _with_server(access: Access, server: str) -> Access:
    return replace(access, server=_checked_url(server, "masterURL of the platform provider"))


def _in_cluster(environ: Mapping[str, str], directory: Path) -> Access:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    token_file = directory / "token"
    if not token_file.exists():
        raise ConfigError(
            f"the agent's pod has no service account token at {token_file}",
            remedy="set automountServiceAccountToken, or kubeConfigPath of the platform provider",
        )
    namespace = directory / "namespace"
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        origin="the agent's service account",
        namespace=namespace.read_text().strip() if namespace.exists() else "",
        ca_file=str(directory / "ca.crt"),
        token_file=str(token_file),
    )


def _from_files(files: Sequence[Path], context_name: str) -> Access:
    """The first file that has a name decides, as for kubectl."""
    loaded = [(file, _load(file)) for file in files]
    names = ", ".join(str(file) for file in files)
    current = (config.current_context for _, config in loaded if config.current_context)
    chosen = context_name or next(current, "")
    if not chosen:
        raise ConfigError(f"{names} has no current-context", remedy="set context of the platform provider")
    contexts = [
        (file, entry.name, entry.context) for file, config in loaded for entry in config.contexts or ()
    ]
    clusters = [
        (file, entry.name, entry.cluster) for file, config in loaded for entry in config.clusters or ()
    ]
    users = [(file, entry.name, entry.user) for file, config in loaded for entry in config.users or ()]
    _, context = _find(chosen, "context", contexts)
    cluster_file, cluster = _find(context.cluster, "cluster", clusters)
    user_file, user = cluster_file, _User()
    if context.user:
        user_file, user = _find(context.user, "user", users)
    if user.auth_provider:
        raise ConfigError(
            f"{user_file}: the user {context.user} uses auth-provider, which Kubernetes no longer supports",
            remedy="use an exec plugin, such as gke-gcloud-auth-plugin or kubelogin",
        )
    origin = f"{names}, context {chosen}"
    return Access(
        server=_checked_url(cluster.server, f"{cluster_file}: server of the cluster {context.cluster}"),
        origin=origin,
        namespace=context.namespace,
        ca_file=_absolute(cluster.certificate_authority, cluster_file),
        ca_data=cluster.certificate_authority_data,
        insecure=cluster.insecure_skip_tls_verify,
        tls_server_name=cluster.tls_server_name,
        proxy_url=cluster.proxy_url,
        token=user.token,
        token_file=_absolute(user.token_file, user_file),
        username=user.username,
        password=user.password,
        client_certificate_file=_absolute(user.client_certificate, user_file),
        client_certificate_data=user.client_certificate_data,
        client_key_file=_absolute(user.client_key, user_file),
        client_key_data=user.client_key_data,
        exec=user.exec,
        directory=str(user_file.resolve().parent),
        exec_extension=_exec_extension(cluster),
        impersonation=tuple(_impersonation(user)),
        files=tuple(str(file) for file in files),
    )


def _load(file: Path) -> _Kubeconfig:
    try:
        if file.stat().st_size > MAX_FILE_SIZE:
            raise ConfigError(f"{file} is larger than {MAX_FILE_SIZE >> 20} MiB", remedy="use a kubeconfig")
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"the kubeconfig cannot be read: {reason}",
            remedy="correct kubeConfigPath of the platform provider",
            place=Place(str(file)),
        ) from error
    data, lines = read(text, str(file))
    document = Document(file=str(file), kind="Config", spec=data, lines=lines)
    return decode(_Kubeconfig, data, document, ())


def _find(name: str, what: str, entries: Sequence[tuple[Path, str, Any]]) -> tuple[Path, Any]:
    for file, entry_name, value in entries:
        if entry_name == name:
            return file, value
    names = ", ".join(dict.fromkeys(entry_name for _, entry_name, _ in entries)) or "none"
    raise ConfigError(f"the kubeconfig has no {what} {name!r}", remedy=f"it has: {names}")


def _checked_url(server: str, what: str) -> str:
    url = server if "://" in server else f"https://{server}"
    if not server or not url.startswith(("https://", "http://")):
        raise ConfigError(f"{what} is not a URL: {server!r}", remedy="write it like https://10.0.0.1:6443")
    return url.rstrip("/")


def _absolute(path: str, file: Path) -> str:
    """A path in a kubeconfig is relative to its file."""
    return str(file.resolve().parent / path) if path else ""


def _exec_extension(cluster: _Cluster) -> Any:
    name = "client.authentication.k8s.io/exec"
    for extension in cluster.extensions or ():
        if extension.get("name") == name:
            return extension.get("extension")
    return None


def _impersonation(user: _User) -> Sequence[tuple[str, str]]:
    headers = []
    if user.impersonate:
        headers.append(("Impersonate-User", user.impersonate))
    if user.impersonate_uid:
        headers.append(("Impersonate-Uid", user.impersonate_uid))
    headers += [("Impersonate-Group", group) for group in user.impersonate_groups or ()]
    for key, values in (user.impersonate_extra or {}).items():
        headers += [(f"Impersonate-Extra-{key}", value) for value in values]
    return headers
