"""The connection to the cluster of a platform provider, shared by all that use it."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipecd.platforms.connections import shared_connection
from pipecd.platforms.kubernetes.cluster.api import ApiClient, open_client
from pipecd.platforms.kubernetes.cluster.discovery import Discovery
from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access
from pipecd.platforms.kubernetes.config import Provider


@dataclass(frozen=True, kw_only=True)
class Cluster:
    api: ApiClient
    kinds: Discovery


@asynccontextmanager
async def connect(provider: Provider | None) -> AsyncIterator[Cluster]:
    """Without a provider, the cluster that the agent runs in. Raises ConfigError."""
    settings = provider or Provider()
    key = ("kubernetes", settings.model_dump_json())

    @asynccontextmanager
    async def open_cluster() -> AsyncIterator[Cluster]:
        access = load_access(
            path=settings.kube_config_path, context=settings.context, master_url=settings.master_url
        )
        async with open_client(access, per_second=settings.api_qps, burst=settings.api_burst) as api:
            yield Cluster(api=api, kinds=Discovery(api))

    async with shared_connection(key, open_cluster, max_age=math.inf, survives_errors=True) as cluster:
        yield cluster
