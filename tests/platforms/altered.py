"""Replaces a platform for a test, for example by one whose live state a test decides."""

from dataclasses import replace
from typing import Any

import pytest

from pipecd.platforms import Platform, registry


def alter_platform(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    *,
    observes: dict[str, Any] | None = None,
    compares: dict[str, Any] | None = None,
    **fields: Any,
) -> Platform[Any]:
    """Use the platform with some fields replaced; `observes` and `compares` are fields of the capability."""
    platform = registry.load_platform(kind)
    if observes:
        assert platform.observes
        fields["observes"] = replace(platform.observes, **observes)
    if compares:
        assert platform.compares
        fields["compares"] = replace(platform.compares, **compares)
    altered = replace(platform, **fields)
    monkeypatch.setitem(registry._loaded, kind, altered)
    return altered
