"""What a chart learns of its target cluster: the version, and which kinds it has.

What a cluster said last is kept in memory, so that applications can be planned while it is away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.errors import Temporary
from pipecd.platforms.kubernetes.cluster.connection import connect
from pipecd.platforms.kubernetes.config import Provider

log = structlog.get_logger()

#: Clusters, and kinds of one cluster, that are remembered.
_MAX_CLUSTERS, _MAX_VERSIONS = 100, 20_000
_last = BoundedDict[str, "Capabilities"](_MAX_CLUSTERS)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """`api_versions` are as `apps/v1`, and as `apps/v1/Deployment`."""

    kube_version: str
    api_versions: Sequence[str]


async def load_capabilities(provider: Provider | None) -> Capabilities:
    """Those of the provider's cluster, as it is now or, if it is away, as it was last.

    Raises Temporary if it is away and was never asked, and ConfigError.
    """
    key = (provider or Provider()).model_dump_json()
    try:
        async with connect(provider) as cluster:
            version = str((await cluster.api.get_json("/version")).get("gitVersion") or "")
            types = await cluster.kinds.types()
    except Temporary as error:
        if key not in _last:
            raise Temporary(
                "the chart depends on the versions that the cluster has, and the cluster cannot be asked;"
                f" set helmOptions.kubeVersion and helmOptions.apiVersions to render it without: {error}"
            ) from error
        log.warning("capabilities_of_absent_cluster", error=str(error))
        return _last[key]
    names = dict.fromkeys(found.api_version for found in types)
    names |= dict.fromkeys(f"{found.api_version}/{found.kind}" for found in types)
    capabilities = Capabilities(kube_version=version, api_versions=list(names)[:_MAX_VERSIONS])
    _last[key] = capabilities
    return capabilities
