"""Secrets: which objects are, what they contain, and how they are compared without being shown."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from pipecd.platforms.kubernetes.cluster.types import split_api_version

#: Values are compared by a digest with a key that no other process has.
_DIGEST_KEY = secrets.token_bytes(32)


def is_secret(body: Mapping[str, Any]) -> bool:
    return body.get("kind") == "Secret" and split_api_version(str(body.get("apiVersion")))[0] == ""


def data_of(secret: Mapping[str, Any]) -> Any:
    """`data`, with the values of `stringData` in base64, as the server stores them."""
    texts = secret.get("stringData")
    if not isinstance(texts, Mapping) or not texts:
        return secret.get("data")
    encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
    return {**(secret.get("data") or {}), **encoded}


def without_values(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body`; each value of a Secret is replaced by a text that is the same for the same value."""
    if not is_secret(body):
        return dict(body)
    fields = {name: body[name] for name in ("data", "stringData") if isinstance(body.get(name), Mapping)}
    hidden = {name: {key: _hidden(value) for key, value in items.items()} for name, items in fields.items()}
    return {**body, **hidden}


def _hidden(value: Any) -> str:
    """Useless for guessing the value."""
    return f"(hidden {hmac.new(_DIGEST_KEY, str(value).encode(), hashlib.sha256).hexdigest()[:8]})"
