"""Secrets in the agent's configuration: the Git credentials, and values to redact. Called by `run`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from pipecd.config.named_file import read_named_file
from pipecd.config.piped import GitHost, PipedSpec, decode_base64, secrets_in
from pipecd.errors import ConfigError, Place
from pipecd.git.credentials import Credentials
from pipecd.git.forge.pull_request import ForgeHost, ForgeType
from pipecd.json_input import decode_json

_SECRET_FIELDS = frozenset(
    {"password", "ssh_key_data", "piped_key_data", "oauth_token", "oauth_token_data", "hook_url"}
    | {"signature_value", "signing_key", "private_key_data", "token_data"}
)


def git_credentials(spec: PipedSpec) -> Credentials:
    """Raises ConfigError if the SSH key file cannot be read."""
    git = spec.git
    key = decode_base64(git.ssh_key_data, "spec.git.sshKeyData") if git.ssh_key_data else ""
    if git.ssh_key_file:
        key = read_named_file(git.ssh_key_file, "spec.git.sshKeyFile", strip="")
    return Credentials(
        username=git.username,
        password=decode_base64(git.password, "spec.git.password") if git.password else "",
        ssh_key=key,
        ssh_config=git.ssh_config_file_path,
    )


def forge_hosts(spec: PipedSpec, add_secret: Callable[[str], None]) -> Sequence[ForgeHost]:
    """The Git hosts whose APIs the agent may use. `add_secret` is called with each token."""
    return [
        ForgeHost(
            host=host.host,
            type=ForgeType(host.forge),
            token=lambda host=host, index=index: _token(host, index, add_secret),  # type: ignore[misc]
            username=host.username,
            api_url=host.api_url,
        )
        for index, host in enumerate(spec.git_hosts)
    ]


def _token(host: GitHost, index: int, add_secret: Callable[[str], None]) -> str:
    key = f"spec.gitHosts[{index}]"
    if host.token_data:
        token = decode_base64(host.token_data, f"{key}.tokenData").strip()
    else:
        token = read_named_file(host.token_file, f"{key}.tokenFile")
    add_secret(token)
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ConfigError(
            "the token is empty or has spaces", remedy="write the token alone", place=Place(key=key)
        )
    return token


def chart_ssh_keys(spec: PipedSpec) -> Mapping[str, str]:
    """By remote: the SSH key of each chart repository in Git that has its own. Raises ConfigError."""
    return {
        repository.git_remote: read_named_file(
            repository.ssh_key_file, f"spec.chartRepositories[{index}].sshKeyFile", strip=""
        )
        for index, repository in enumerate(spec.chart_repositories)
        if repository.type == "GIT" and repository.ssh_key_file
    }


def configured_secrets(spec: PipedSpec) -> Iterator[str]:
    """Every secret that is written in the configuration file itself."""
    yield from _secrets(spec)
    yield from secrets_in([provider.config for provider in spec.analysis_providers])


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            item = getattr(value, name)
            if name in _SECRET_FIELDS and isinstance(item, str) and item:
                yield item
            else:
                yield from _secrets(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if str(key).lower() == "credentialsdata" and isinstance(item, str) and item:
                yield from _google_secrets(item)
            else:
                yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)


def _google_secrets(data: str) -> Iterator[str]:
    """The credentials of a Google provider as written, and the secrets in them."""
    yield data
    try:
        info = decode_json(decode_base64(data, "credentialsData"))
    except (ConfigError, ValueError):
        return
    if isinstance(info, Mapping):
        for name in ("private_key", "private_key_id", "client_secret", "refresh_token"):
            if isinstance(info.get(name), str):
                yield info[name]
