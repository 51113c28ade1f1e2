"""The agent's key pair for secrets (`spec.secretManagement`): what opens them, and what others seal with.

Read once at the start, by `run`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from pipecd.config.piped import PipedSpec, decoded
from pipecd.encryption import Opener, seal
from pipecd.errors import ConfigError, Place

_KEY = "spec.secretManagement.config"
_PROBE = b"the two keys of a pair"


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    opener: Opener
    #: PEM, as the control plane is told it.
    public: str
    #: PEM; for the redactor alone.
    private: str = field(repr=False)


def load_key_pair(spec: PipedSpec) -> KeyPair | None:
    """None where the agent's file names none. Raises ConfigError when the keys do not fit one another."""
    if spec.secret_management is None:
        return None
    given = spec.secret_management.config
    private = _text(given.private_key_file, given.private_key_data, "privateKey")
    public = _text(given.public_key_file, given.public_key_data, "publicKey")
    opener = Opener(private.encode())
    try:
        opener.open(seal(public, _PROBE))
    except ConfigError as error:
        raise ConfigError(
            f"{_KEY}: the public and the private key do not fit: {error.what}",
            remedy="make the public one again: openssl rsa -in private.pem -pubout -out public.pem",
        ) from None
    return KeyPair(opener=opener, public=public.strip(), private=private)


def _text(file: str, data: str, key: str) -> str:
    if data:
        return decoded(data, f"{_KEY}.{key}Data")
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the key cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}",
            remedy="make the file readable for the agent, or correct its path",
            place=Place(file, key=f"{_KEY}.{key}File"),
        ) from error
