"""The provider that authenticates the users of a project, from the configuration file or the store."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipecd.config.sso import MAX_SESSION_HOURS, SSO, check_https
from pipecd.config.values import http_url
from pipecd.controlplane.auth.sessions import CREDENTIAL
from pipecd.controlplane.auth.sso.grants import Grant
from pipecd.errors import ConfigError, Refused
from pipecd.schema.model.project_pb2 import ProjectSSOConfig

_GITHUB = "https://github.com"
_NONCE_BYTES = 12
#: The addresses of a provider, which must be encrypted.
_URLS = {
    "github": ("base_url",),
    "oidc": ("issuer", "authorization_endpoint", "token_endpoint", "user_info_endpoint"),
}


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """`base_url` as in the configuration; empty means github.com."""

    client_id: str
    client_secret: str
    base_url: str = ""
    proxy_url: str = ""

    @property
    def web(self) -> str:
        """Scheme and host of the site."""
        if not self.base_url:
            return _GITHUB
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def api(self) -> str:
        return "https://api.github.com" if self.web == _GITHUB else f"{self.web}/api/v3"

    @property
    def title(self) -> str:
        """Name of the provider on the login page."""
        return "GitHub" if self.web == _GITHUB else f"GitHub ({urlsplit(self.web).hostname})"


@dataclass(frozen=True, kw_only=True)
class OIDC:
    """Empty claim names mean the default ones of `oidc`, empty endpoints the ones the provider publishes."""

    client_id: str
    client_secret: str
    issuer: str
    redirect_uri: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    user_info_endpoint: str = ""
    proxy_url: str = ""
    scopes: Sequence[str] = ()
    roles_claim_key: str = ""
    username_claim_key: str = ""
    avatar_url_claim_key: str = ""

    @property
    def title(self) -> str:
        """Name of the provider on the login page."""
        return urlsplit(self.issuer).hostname or self.issuer


@dataclass(frozen=True, kw_only=True)
class Provider:
    """`session_lifetime` in seconds; 0 means the default."""

    settings: GitHub | OIDC
    session_lifetime: int = 0

    @property
    def credential(self) -> str:
        """Differs if the provider or its settings differ, so that a change ends the sessions."""
        text = json.dumps([type(self.settings).__name__, asdict(self.settings), self.session_lifetime])
        return CREDENTIAL + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A user as the provider describes it. `groups`: teams, or values of the roles claim."""

    username: str
    avatar_url: str = ""
    groups: Sequence[str] = ()
    grant: Grant = field(default_factory=lambda: Grant(subject=""))


def from_config(config: SSO) -> Provider:
    """Raises ConfigError if the file of a secret cannot be read."""
    lifetime = config.session_ttl * 3600
    if config.provider == "GITHUB":
        assert config.github
        github = GitHub(
            client_id=config.github.client_id,
            client_secret=config.github.read_secret(),
            base_url=config.github.base_url,
            proxy_url=config.github.proxy_url,
        )
        return Provider(settings=github, session_lifetime=lifetime)
    assert config.oidc
    fields = config.oidc.model_dump(exclude={"client_secret", "client_secret_file"})
    fields["scopes"] = tuple(fields["scopes"])
    oidc = OIDC(client_secret=config.oidc.read_secret(), **fields)
    return Provider(settings=oidc, session_lifetime=lifetime)


def from_record(record: ProjectSSOConfig, key: bytes) -> Provider:
    """The provider of a stored project; `key` is the encryption key. Raises ConfigError."""
    lifetime = min(max(record.session_ttl, 0), MAX_SESSION_HOURS) * 3600
    try:
        if record.provider == ProjectSSOConfig.GITHUB:
            _check_urls(record)
            github = GitHub(
                client_id=decrypt(record.github.client_id, key),
                client_secret=decrypt(record.github.client_secret, key),
                base_url=record.github.base_url,
                proxy_url=record.github.proxy_url,
            )
            return Provider(settings=github, session_lifetime=lifetime)
        if record.provider != ProjectSSOConfig.OIDC:
            raise ConfigError("the project's provider for single sign-on is not supported")
        _check_urls(record)
    except Refused as error:
        raise ConfigError(f"single sign-on of the project: {error}") from None
    stored = record.oidc
    oidc = OIDC(
        client_id=decrypt(stored.client_id, key),
        client_secret=decrypt(stored.client_secret, key),
        issuer=stored.issuer,
        redirect_uri=stored.redirect_uri,
        authorization_endpoint=stored.authorization_endpoint,
        token_endpoint=stored.token_endpoint,
        user_info_endpoint=stored.user_info_endpoint,
        proxy_url=stored.proxy_url,
        scopes=tuple(stored.scopes),
        roles_claim_key=stored.roles_claim_key,
        username_claim_key=stored.username_claim_key,
        avatar_url_claim_key=stored.avatar_url_claim_key,
    )
    return Provider(settings=oidc, session_lifetime=lifetime)


def encrypt_client(record: ProjectSSOConfig, key: bytes) -> ProjectSSOConfig:
    """A copy of `record` for the store: with its client's id and secret encrypted.

    Raises Refused if it is not valid.
    """
    copy = ProjectSSOConfig()
    copy.CopyFrom(record)
    if copy.provider not in (ProjectSSOConfig.GITHUB, ProjectSSOConfig.OIDC):
        raise Refused("this provider is not supported", remedy="use GitHub or OpenID Connect")
    part = "github" if copy.provider == ProjectSSOConfig.GITHUB else "oidc"
    client = copy.github if copy.provider == ProjectSSOConfig.GITHUB else copy.oidc
    for name in ("client_id", "client_secret"):
        if not getattr(client, name):
            raise Refused("the client's id and secret are required", field=f"sso.{part}.{name}")
    if copy.provider == ProjectSSOConfig.OIDC and not copy.oidc.issuer:
        raise Refused("the issuer is required", field="sso.oidc.issuer")
    _check_urls(copy)
    client.client_id, client.client_secret = (
        encrypt(client.client_id, key),
        encrypt(client.client_secret, key),
    )
    return copy


def encrypt(plain: str, key: bytes) -> str:
    """AES-256-GCM in PipeCD's format: base64(nonce ‖ ciphertext), with the first 32 bytes of the key."""
    nonce = os.urandom(_NONCE_BYTES)
    return base64.standard_b64encode(nonce + AESGCM(key[:32]).encrypt(nonce, plain.encode(), None)).decode()


def decrypt(text: str, key: bytes) -> str:
    """Raises ConfigError if `text` was encrypted with another key, or was changed."""
    try:
        data = base64.b64decode(text.encode(), validate=True)
        return AESGCM(key[:32]).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None).decode()
    except (ValueError, InvalidTag):
        raise ConfigError(
            "the client of the project's single sign-on was encrypted with another key",
            remedy="start the control plane with its earlier encryption key, or set up single sign-on again",
        ) from None


def _check_urls(record: ProjectSSOConfig) -> None:
    """Raises Refused with the field of the first URL that is not valid."""
    part = "github" if record.provider == ProjectSSOConfig.GITHUB else "oidc"
    client = getattr(record, part)
    for name in _URLS[part]:
        try:
            check_https(getattr(client, name), name)
        except ValueError as error:
            raise Refused(str(error), field=f"sso.{part}.{name}") from None
    try:
        http_url(client.proxy_url)
    except ValueError as error:
        raise Refused(f"proxy_url {error}", field=f"sso.{part}.proxy_url") from None
