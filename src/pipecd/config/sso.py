"""Single sign-on in the control plane's configuration file: PipeCD's keys, and `clientSecretFile`."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipecd.config.decode import LenientModel, Unused
from pipecd.config.named_file import read_named_file
from pipecd.config.values import HttpUrl

#: The longest lifetime of a session, in hours.
MAX_SESSION_HOURS = 30 * 24


def check_https(url: str, key: str) -> None:
    """Raises ValueError unless `url` is an HTTPS URL, or an HTTP URL of this machine. Empty is valid."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if url and not (parts.hostname and (parts.scheme == "https" or local)):
        raise ValueError(f"{key} must be a URL that begins with https://")


class _Client(LenientModel):
    client_id: str = Field(min_length=1)
    """Id of the OAuth client, as shown by the provider."""
    client_secret: str = ""
    """Secret of the OAuth client."""
    client_secret_file: str = ""
    """Path of a file that contains the secret of the OAuth client. Not in PipeCD."""
    proxy_url: HttpUrl = ""
    """URL of an HTTP proxy for calls to the provider."""

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if bool(self.client_secret) == bool(self.client_secret_file):
            raise ValueError("exactly one of clientSecret and clientSecretFile must be given")
        return self

    def read_secret(self) -> str:
        """The client's secret, from the configuration or its file. Raises ConfigError."""
        return self.client_secret or read_named_file(self.client_secret_file, "clientSecretFile").strip()


class GitHubSSO(_Client):
    base_url: str = ""
    """URL of GitHub Enterprise Server, such as `https://github.example.com`; empty means github.com."""
    upload_url: Annotated[str, Unused("nothing is uploaded to GitHub")] = ""
    """Not used. Accepted for compatibility with PipeCD."""

    @model_validator(mode="after")
    def _uses_https(self) -> Self:
        check_https(self.base_url, "baseUrl")
        return self


class OIDCSSO(_Client):
    issuer: str = Field(min_length=1)
    """URL of the provider, below which `/.well-known/openid-configuration` is found."""
    redirect_uri: HttpUrl = ""
    """URL of `/auth/callback` as registered at the provider; by default below the console's `address`."""
    authorization_endpoint: str = ""
    """Overrides the endpoint that the provider publishes."""
    token_endpoint: str = ""
    """Overrides the endpoint that the provider publishes."""
    user_info_endpoint: str = ""
    """Overrides the endpoint that the provider publishes."""
    scopes: Sequence[str] = ()
    """Scopes to request; `openid` is always requested. By default also `profile`."""
    roles_claim_key: str = ""
    """Claim with the user's groups or roles; a path with dots is possible. By default the first of `groups`,
    `roles`, `cognito:groups`, `custom:roles` and `custom:groups`."""
    username_claim_key: str = ""
    """Claim with the user name. By default the first of `username`, `preferred_username`, `name` and
    `cognito:username`."""
    avatar_url_claim_key: str = ""
    """Claim with the URL of a picture. By default the first of `picture` and `avatar_url`."""

    @model_validator(mode="after")
    def _uses_https(self) -> Self:
        check_https(self.issuer, "issuer")
        check_https(self.authorization_endpoint, "authorizationEndpoint")
        check_https(self.token_endpoint, "tokenEndpoint")
        check_https(self.user_info_endpoint, "userInfoEndpoint")
        return self


class SSO(LenientModel):
    """A provider that authenticates users."""

    provider: Literal["GITHUB", "GOOGLE", "OIDC"]
    """The kind of provider. `GOOGLE` is not supported; use `OIDC` with `https://accounts.google.com`."""
    session_ttl: int = Field(default=0, ge=0, le=MAX_SESSION_HOURS)
    """Lifetime of sessions in hours; 0 means 168 (a week)."""
    github: GitHubSSO | None = None
    """Settings of GitHub or GitHub Enterprise."""
    oidc: OIDCSSO | None = None
    """Settings of an OpenID Connect provider."""

    @model_validator(mode="after")
    def _has_settings(self) -> Self:
        if self.provider == "GOOGLE":
            raise ValueError("GOOGLE is not supported: use OIDC with the issuer https://accounts.google.com")
        if getattr(self, self.provider.lower()) is None:
            raise ValueError(f"{self.provider.lower()} is required for the provider {self.provider}")
        return self


class SharedSSO(SSO):
    name: str = Field(min_length=1)
    """Name by which projects refer to it."""


class UserGroup(LenientModel):
    sso_group: str = Field(min_length=1)
    """A team of GitHub (`organization/team`, or `organization/*`), or a value of the roles claim."""
    role: str = Field(min_length=1)
    """The role that its members have: `Admin`, `Editor`, `Viewer`, or one of `roles`."""
