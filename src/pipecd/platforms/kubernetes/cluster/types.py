"""What discovery provides about a kind, and the paths of its objects."""

from collections.abc import Set
from dataclasses import dataclass
from urllib.parse import quote

from pipecd.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """The resource of a kind in one version. `group` is empty for the core group."""

    group: str
    version: str
    kind: str
    #: Plural name in URLs, such as `deployments`.
    plural: str
    namespaced: bool
    verbs: Set[str] = frozenset()
    #: Whether its status is written separately, by its controller.
    has_status: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of an object, or of all objects without a name. Without a namespace: of all namespaces.

        Raises ConfigError for a name that is no part of a path.
        """
        for part in (namespace, name):
            check_path_segment(part)
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


def split_api_version(api_version: str) -> tuple[str, str]:
    """`apps/v1` → `("apps", "v1")`, `v1` → `("", "v1")`."""
    group, _, version = api_version.rpartition("/")
    return group, version


def check_path_segment(name: str) -> None:
    """Raises ConfigError for a name that would lead to another path. Kubernetes refuses the same names."""
    if name in (".", "..") or "/" in name or "%" in name:
        raise ConfigError(f"{name!r} cannot be the name of an object", remedy="choose another name")
