"""The agent's key pair for secrets (`spec.secretManagement`): others encrypt with it, the agent decrypts.

Loaded once at startup, by `run`.
"""

from dataclasses import dataclass, field

from pipecd.config.named_file import read_named_file
from pipecd.config.piped import PipedSpec, decode_base64
from pipecd.encryption import Decryptor, encrypt
from pipecd.errors import ConfigError, Place

_KEY = "spec.secretManagement.config"
_PROBE = b"the two keys of a pair"


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    decryptor: Decryptor
    #: PEM, as reported to the control plane.
    public: str
    #: PEM; used only by the redactor.
    private: str = field(repr=False)


def load_key_pair(spec: PipedSpec) -> KeyPair | None:
    """None if the agent's file has no key pair. Raises ConfigError if the keys do not match."""
    if spec.secret_management is None:
        return None
    config = spec.secret_management.config
    private = _read_key(config.private_key_file, config.private_key_data, "privateKey")
    public = _read_key(config.public_key_file, config.public_key_data, "publicKey")
    try:
        decryptor = Decryptor(private.encode())
    except ConfigError as error:
        name = "privateKeyData" if config.private_key_data else "privateKeyFile"
        raise ConfigError(error.what, remedy=error.remedy, place=Place(key=f"{_KEY}.{name}")) from None
    try:
        decryptor.decrypt(encrypt(public, _PROBE))
    except ConfigError as error:
        raise ConfigError(
            f"the public and private keys do not match: {error.what}",
            remedy="regenerate the public key: openssl rsa -in private.pem -pubout -out public.pem",
            place=Place(key=_KEY),
        ) from None
    return KeyPair(decryptor=decryptor, public=public.strip(), private=private)


def _read_key(file: str, data: str, key: str) -> str:
    if data:
        return decode_base64(data, f"{_KEY}.{key}Data")
    return read_named_file(file, f"{_KEY}.{key}File", strip="")
