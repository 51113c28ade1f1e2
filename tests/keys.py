"""An agent's key pair, as `openssl` makes one."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def made(folder: Path, name: str = "sealing") -> dict[str, Any]:
    """`secretManagement` of an agent's file, with the keys in `folder`."""
    key = generate_private_key(65537, 2048)
    private, public = folder / f"{name}.private.pem", folder / f"{name}.public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    config = {"privateKeyFile": str(private), "publicKeyFile": str(public)}
    return {"type": "KEY_PAIR", "config": config}
