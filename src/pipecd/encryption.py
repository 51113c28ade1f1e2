"""Secrets stored in Git: encrypted with a public key, decrypted by the agent that has the private key.

PipeCD's hybrid format: base64(u16 length ‖ RSA-OAEP-SHA256 of a new 32-byte key ‖ AES-256-GCM under that
key with a zero nonce). The fixed nonce is safe because every encryption uses a new key.
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


def encrypt(public_key: str, plain: bytes) -> str:
    """Encrypt `plain` with `public_key` (PEM). Raises ConfigError if that is not an RSA public key."""
    try:
        key = load_pem_public_key(public_key.strip().encode())
    except ValueError:
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ConfigError(
            "the public key is not an RSA key in PEM", remedy="check spec.secretManagement of the piped"
        )
    data_key = os.urandom(32)
    wrapped_key = key.encrypt(data_key, _OAEP)
    length = struct.pack(">H", len(wrapped_key))
    encrypted = length + wrapped_key + AESGCM(data_key).encrypt(_NONCE, plain, None)
    return base64.standard_b64encode(encrypted).decode()


class Decryptor:
    """Decrypts secrets with one private key (PEM, PKCS#8). Raises ConfigError if it is not an RSA key."""

    def __init__(self, private_key: bytes) -> None:
        try:
            key = load_pem_private_key(private_key.strip(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise ConfigError(
                "the private key for secrets is not an RSA key in PEM (PKCS#8)",
                remedy="generate a pair with `openssl genrsa -out private.pem 2048` and its public key with"
                " `openssl rsa -in private.pem -pubout`",
            )
        self._key = key

    def decrypt(self, encrypted: str) -> bytes:
        """The plaintext. Raises ConfigError, whose message contains no part of the secret."""
        try:
            data = base64.b64decode(encrypted.strip().encode(), validate=True)
        except ValueError:
            raise ConfigError("the encrypted secret is not base64") from None
        length = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 0
        if len(data) < 2 + length or not length:
            raise ConfigError("the encrypted secret is truncated")
        try:
            data_key = self._key.decrypt(data[2 : 2 + length], _OAEP)
            return AESGCM(data_key).decrypt(_NONCE, data[2 + length :], None)
        except (ValueError, InvalidTag):
            raise ConfigError(
                "the secret was encrypted with another key pair, or was changed",
                remedy="encrypt it again for this piped",
            ) from None
