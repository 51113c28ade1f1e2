"""Encrypts texts with a key that is derived from the control plane's encryption key, one for each purpose."""

import base64
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class DerivedCipher:
    """AES-256-GCM."""

    def __init__(self, key: bytes, purpose: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(key, purpose, "sha256"))

    def encrypt(self, text: str, bound_to: str = "") -> str:
        """URL-safe base64. It can only be decrypted with the same `bound_to`."""
        nonce = os.urandom(_NONCE_BYTES)
        encrypted = self._cipher.encrypt(nonce, text.encode(), bound_to.encode())
        return base64.urlsafe_b64encode(nonce + encrypted).decode()

    def decrypt(self, text: str, bound_to: str = "") -> str | None:
        """None if it was encrypted with another key or purpose, bound to something else, or changed."""
        try:
            data = base64.urlsafe_b64decode(text.encode())
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound_to.encode()).decode()
        except (ValueError, InvalidTag):
            return None
