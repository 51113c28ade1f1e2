"""Secrets that may stand in Git: sealed with a public key, opened by the agent that has the private one.

PipeCD's hybrid format: base64(u16 length ‖ RSA-OAEP-SHA256 of a fresh 32-byte key ‖ AES-256-GCM under that
key with a zero nonce). A fresh key each time is what makes the fixed nonce sound.
"""

import base64
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from pipecd.errors import ConfigError

_NONCE = bytes(12)
_OAEP = padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)


def seal(public_key: str, plain: bytes) -> str:
    """`public_key` is PEM. Raises ConfigError when it is no RSA public key."""
    try:
        key = load_pem_public_key(public_key.strip().encode())
    except ValueError:
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ConfigError(
            "the public key is no RSA key in PEM", remedy="check spec.secretManagement of the piped"
        )
    once = os.urandom(32)
    wrapped = key.encrypt(once, _OAEP)
    text = struct.pack(">H", len(wrapped)) + wrapped + AESGCM(once).encrypt(_NONCE, plain, None)
    return base64.standard_b64encode(text).decode()


class Opener:
    """Opens what was sealed for one private key (PEM, PKCS#8)."""

    def __init__(self, private_key: bytes) -> None:
        try:
            key = load_pem_private_key(private_key.strip(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise ConfigError(
                "the private key for secrets is no RSA key in PEM (PKCS#8)",
                remedy="make a pair with `openssl genrsa -out private.pem 2048` and its public part with"
                " `openssl rsa -in private.pem -pubout`",
            )
        self._key = key

    def open(self, sealed: str) -> bytes:
        """Raises ConfigError that says what is wrong and shows nothing of the text."""
        try:
            data = base64.b64decode(sealed.strip().encode(), validate=True)
        except ValueError:
            raise ConfigError("the sealed secret is not base64") from None
        length = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 0
        if len(data) < 2 + length or not length:
            raise ConfigError("the sealed secret is cut short")
        try:
            once = self._key.decrypt(data[2 : 2 + length], _OAEP)
            return AESGCM(once).decrypt(_NONCE, data[2 + length :], None)
        except (ValueError, InvalidTag):
            raise ConfigError(
                "the sealed secret was made for another key pair, or was changed",
                remedy="seal it again for this piped",
            ) from None
