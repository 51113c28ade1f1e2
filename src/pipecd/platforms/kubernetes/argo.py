"""Annotations of Argo CD that are read from manifests."""

from collections.abc import Mapping, Set
from typing import Any

SYNC_WAVE = "argocd.argoproj.io/sync-wave"
SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
HOOK, HOOK_DELETE_POLICY = "argocd.argoproj.io/hook", "argocd.argoproj.io/hook-delete-policy"


def sync_options(annotations: Mapping[str, Any]) -> Set[str]:
    """Such as `Replace=true`."""
    return words_of(annotations, SYNC_OPTIONS)


def words_of(annotations: Mapping[str, Any], name: str) -> Set[str]:
    """The words of an annotation that is a list with commas."""
    return {word for part in str(annotations.get(name) or "").split(",") if (word := part.strip())}
