"""The cluster of the Kubernetes demo: the user's own, or a simulated one that the quickstart starts.

In the user's cluster, the demo writes into one namespace only, and never deletes it.
"""

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipecd.errors import ConfigError, NotFound, PermissionDenied, PipecdError
from pipecd.json_input import decode_json
from pipecd.quickstart.ports import Ports
from pipecd.quickstart.simulated_cluster import gateway

if TYPE_CHECKING:
    from pipecd.platforms.kubernetes.cluster.api import ApiClient

NAMESPACE = "pipecd-quickstart"
#: The Deployment that the demo edits by hand.
EDITED = "search"
_OPTIONS = "the options are --kubeconfig and --context"
#: Namespace and name, in a simulated cluster.
SIMULATED_GATEWAY = f"{gateway.NAMESPACE}/{gateway.NAME}"
#: What the demo does in its namespace, as group, resource and verb.
_NEEDED = (("apps", "deployments", "patch"), ("", "services", "patch"), ("", "configmaps", "patch"))


@dataclass(frozen=True, kw_only=True)
class DemoCluster:
    """`binary` is that of the simulated cluster; None for a cluster of the user."""

    kubeconfig: Path
    context: str = ""
    namespace: str = NAMESPACE
    binary: Path | None = None
    #: Namespace and name of the Gateway that routes of the demo belong to; empty if there is none.
    gateway: str = ""

    @property
    def simulated(self) -> bool:
        return self.binary is not None

    @property
    def provider(self) -> dict[str, str]:
        """`config` of the agent's platform provider."""
        config = {"kubeConfigPath": str(self.kubeconfig)}
        return {**config, "context": self.context} if self.context else config

    @property
    def kubectl(self) -> str:
        """The command line of kubectl for this cluster and namespace."""
        kubectl = shutil.which("kubectl", path=tools_path()) or "kubectl"
        context = f" --context={self.context}" if self.context else ""
        return f"{kubectl} --kubeconfig={self.kubeconfig}{context} --namespace={self.namespace}"

    def command(self, ports: Ports) -> list[str]:
        """Starts the simulated cluster."""
        module = "pipecd.quickstart.simulated_cluster"
        assert self.binary is not None
        numbers = map(str, ports.cluster)
        return [sys.executable, "-m", module, str(self.binary), str(self.kubeconfig.parent), *numbers]


def tools_path() -> str:
    """PATH for the agent: programs in the environment of this one are found, also if it is not activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def check_installed() -> None:
    """Raises ConfigError if the agent could not deploy the Kubernetes applications."""
    programs = {"helm": ("helm",), "kustomize or kubectl": ("kustomize", "kubectl")}
    missing = [] if find_spec("aiohttp") else ["the extra `kubernetes` of pipecd"]
    missing += [
        description
        for description, names in programs.items()
        if not any(shutil.which(name, path=tools_path()) for name in names)
    ]
    if missing:
        raise ConfigError(
            f"not installed: {', '.join(missing)}",
            remedy="run `make quickstart-kubernetes`, which installs it, or install it yourself",
        )


async def check(cluster: DemoCluster) -> str:
    """The version of the user's cluster. Raises ConfigError if the demo cannot be deployed to it."""
    try:
        async with _client(cluster) as api:
            version = str((await api.get_json("/version"))["gitVersion"])
            await _check_permissions(api, cluster)
            return version
    except ConfigError as error:
        raise ConfigError(
            f"the cluster cannot be used: {error.what}",
            remedy=f"{error.remedy}; {_OPTIONS}" if error.remedy else _OPTIONS,
            place=error.place,
        ) from error
    except (PipecdError, KeyError) as error:
        raise ConfigError(
            f"the cluster cannot be used: {error}",
            remedy="start it, or choose another one; without --kubeconfig, `make quickstart-kubernetes`"
            f" starts a simulated cluster; {_OPTIONS}",
        ) from error


async def is_ready(cluster: DemoCluster) -> bool:
    """Whether the simulated cluster is ready. Raises Temporary while it starts."""
    if not cluster.kubeconfig.exists():
        return False
    async with _client(cluster) as api:
        try:
            await api.get_json("/api/v1/namespaces/default")
            await api.get_json(gateway.PATH)
        except NotFound:
            return False
        return True


async def edit_by_hand(cluster: DemoCluster) -> None:
    """What a person might do in a hurry with `kubectl edit`: another log level for `search`."""
    container = {"name": EDITED, "env": [{"name": "LOG_LEVEL", "value": "debug"}]}
    async with _client(cluster) as api:
        await api.send(
            "PATCH",
            f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{EDITED}",
            params={"fieldManager": "kubectl-edit"},
            body={"spec": {"template": {"spec": {"containers": [container]}}}},
            content_type="application/strategic-merge-patch+json",
        )


def store(cluster: DemoCluster, file: Path) -> None:
    """Record which cluster a state directory deploys to. Raises ConfigError if it is another one."""
    stored = load(file)
    now = _identity(cluster)
    if stored and {name: stored.get(name) for name in now} != now:
        raise ConfigError(
            f"the applications of {file.parent} are deployed to the namespace {stored.get('namespace')} of"
            f" {stored.get('server') or 'the simulated cluster'}, which is another one",
            remedy="use the same options, or another directory: --state-dir; --clean removes a directory",
        )
    file.write_text(json.dumps({**now, "kubectl": cluster.kubectl}))


def load(file: Path) -> Mapping[str, Any]:
    """What `store` recorded; empty if nothing was."""
    try:
        content = decode_json(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def removal(file: Path) -> str:
    """What stays in the user's cluster, and how to remove it; empty if nothing does."""
    stored = load(file)
    if not stored.get("server"):
        return ""
    namespace, kubectl = stored.get("namespace"), stored.get("kubectl")
    return (
        f"The applications stay in the namespace {namespace} of {stored['server']}. To remove them:\n"
        f"{kubectl} delete namespace {namespace}"
    )


def _identity(cluster: DemoCluster) -> dict[str, str]:
    from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access

    if cluster.simulated:
        return {"namespace": cluster.namespace, "server": ""}
    access = load_access(path=str(cluster.kubeconfig), context=cluster.context)
    return {"namespace": cluster.namespace, "server": access.server}


async def _check_permissions(api: "ApiClient", cluster: DemoCluster) -> None:
    from pipecd.platforms.kubernetes.permissions import is_allowed

    needed = [*_NEEDED]
    if cluster.gateway:
        needed.append((gateway.GROUP, "httproutes", "patch"))
        await _check_gateway(api, cluster.gateway)
    try:
        await api.get_json(f"/api/v1/namespaces/{cluster.namespace}")
    except NotFound:
        needed.append(("", "namespaces", "create"))
    except PermissionDenied:
        pass
    for group, resource, verb in needed:
        if not await is_allowed(api, cluster.namespace, group, resource, verb):
            raise ConfigError(
                f"you may not {verb} {resource} in the namespace {cluster.namespace}",
                remedy="choose a namespace in which you may, with --namespace",
            )


async def _check_gateway(api: "ApiClient", name: str) -> None:
    namespace, _, name = name.partition("/")
    try:
        await api.get_json(f"{gateway.PATH}/namespaces/{namespace}/gateways/{name}")
    except NotFound:
        raise ConfigError(
            f"there is no Gateway {name} in the namespace {namespace}",
            remedy="correct --gateway; `kubectl get gateways --all-namespaces` lists them",
        ) from None
    except PermissionDenied:
        # Whether it accepts routes of the demo's namespace is shown by their status.
        pass


@asynccontextmanager
async def _client(cluster: DemoCluster) -> AsyncIterator["ApiClient"]:
    from pipecd.platforms.kubernetes.cluster.api import open_client
    from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access

    access = load_access(path=str(cluster.kubeconfig), context=cluster.context)
    async with open_client(access) as api:
        yield api
