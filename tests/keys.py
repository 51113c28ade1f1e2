"""Key pairs for an agent, in the format of `openssl`."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def write_key_pair(folder: Path, name: str = "encryption") -> dict[str, Any]:
    """Write a new key pair to `folder`. Returns the `secretManagement` section of an agent's file."""
    key = generate_private_key(65537, 2048)
    private, public = folder / f"{name}.private.pem", folder / f"{name}.public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    config = {"privateKeyFile": str(private), "publicKeyFile": str(public)}
    return {"type": "KEY_PAIR", "config": config}
