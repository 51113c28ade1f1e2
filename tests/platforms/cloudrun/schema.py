"""Checks a body against the discovery document, Google's own description of its API."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from pipecd.quickstart.cloud_run import ApiError

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "number": (int, float),
}


@cache
def _schemas() -> Mapping[str, Any]:
    document = files("googleapiclient.discovery_cache.documents") / "run.v1.json"
    found: Mapping[str, Any] = json.loads(document.read_text())["schemas"]
    return found


def check_body(kind: str, body: Mapping[str, Any]) -> None:
    """Raises ApiError for an unknown key, or a value of another type, as Google answers."""
    _check({"$ref": kind}, body, "")


def _check(schema: Mapping[str, Any], value: Any, path: str) -> None:
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"]]
    expected = schema.get("type", "object")
    if expected == "array":
        _require(isinstance(value, list), path, "is not a list")
        for at, item in enumerate(value):
            _check(schema["items"], item, f"{path}[{at}]")
    elif expected == "object":
        _require(isinstance(value, Mapping), path, "is not an object")
        for key, item in value.items():
            inner: Any = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            _require(inner is not None, f"{path}.{key}", "is unknown")
            _check(inner, item, f"{path}.{key}")
    elif expected != "any":
        # 64-bit numbers are text in Google's JSON.
        types = _TYPES[expected]
        right = isinstance(value, types) and isinstance(value, bool) == (expected == "boolean")
        _require(right, path, f"is not of the type {expected}")
        if "enum" in schema:
            _require(value in schema["enum"], path, f"is none of {schema['enum']}")


def _require(right: bool, path: str, what: str) -> None:
    if not right:
        raise ApiError(400, "INVALID_ARGUMENT", f"{path} {what}")
