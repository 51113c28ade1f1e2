"""Connection settings: from flags, the environment, and a profile of pipectl's configuration file.

Called by `pipectl.connection`. `combine` decides; `load_profile` reads the file.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipecd.errors import ConfigError

FILE_VARIABLE = "PIPECTL_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one source. A value that the source does not set is empty or None."""

    address: str = ""
    api_key: str = ""
    api_key_file: Path | None = None
    insecure: bool | None = None
    cert_file: str = ""


def combine(sources: Sequence[Settings], profile: Settings | None = None) -> Settings:
    """The settings of the first source that sets them; key and key file are one setting.

    `profile`, which is one of `sources`, describes a single control plane: if another source names another
    address, nothing of the profile is used, so that its key is sent to no other server.
    """
    address = next((source.address for source in sources if source.address), "")
    used = [source for source in sources if source is not profile or source.address == address]
    credential = next((source for source in used if source.api_key or source.api_key_file), Settings())
    if credential.api_key and credential.api_key_file:
        raise ConfigError("both an API key and a file with an API key are set", remedy="use one of them")
    return Settings(
        address=address,
        api_key=credential.api_key,
        api_key_file=credential.api_key_file,
        insecure=next((source.insecure for source in used if source.insecure is not None), False),
        cert_file=next((source.cert_file for source in used if source.cert_file), ""),
    )


def configuration_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Path of the configuration file, which need not exist."""
    if path := environment.get(FILE_VARIABLE):
        return Path(path).expanduser()
    folder = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "pipecd" / "pipectl.yaml"


def load_profile(name: str, file: Path) -> Settings | None:
    """The profile `name`, or if empty the default profile; None if there is none. Raises ConfigError."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        if name:
            raise ConfigError(f"there is no profile {name}: {file} does not exist") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    from pipecd.config import pipectl  # loads pydantic: only if there is a file

    spec = pipectl.load(text, str(file))
    name = name or spec.default_profile
    if not name:
        return None
    if name not in spec.profiles:
        known = ", ".join(sorted(spec.profiles)) or "none"
        raise ConfigError(f"{file} has no profile {name}; its profiles: {known}")
    profile = spec.profiles[name]
    if profile.api_key and file.stat().st_mode & 0o077:
        raise ConfigError(
            f"{file} contains an API key and can be read by other users",
            remedy=f"run `chmod 600 {file}`, or use apiKeyFile",
        )
    return Settings(
        address=profile.address,
        api_key=profile.api_key,
        api_key_file=_resolve(profile.api_key_file, file),
        insecure=profile.insecure,
        cert_file=str(_resolve(profile.cert_file, file) or ""),
    )


def _resolve(path: str, file: Path) -> Path | None:
    return file.parent / Path(path).expanduser() if path else None
