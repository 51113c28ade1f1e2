"""The connection to the cluster of a platform provider, shared by all that use it."""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from pipecd.platforms.connections import shared_connection
from pipecd.platforms.kubernetes.cluster.api import ApiClient, open_client
from pipecd.platforms.kubernetes.cluster.discovery import Discovery
from pipecd.platforms.kubernetes.cluster.follow import Follower, Scope
from pipecd.platforms.kubernetes.cluster.kubeconfig import load_access
from pipecd.platforms.kubernetes.cluster.types import split_api_version
from pipecd.platforms.kubernetes.config import Provider, ResourceMatcher
from pipecd.platforms.kubernetes.health.custom import CustomRule
from pipecd.platforms.kubernetes.health.rules import HealthRules
from pipecd.platforms.kubernetes.reduce import Reducer


@dataclass(frozen=True, kw_only=True)
class Cluster:
    api: ApiClient
    kinds: Discovery
    #: What is known of the cluster's objects, while the platform watches it.
    follower: Follower
    health: HealthRules


@asynccontextmanager
async def connect(provider: Provider | None) -> AsyncIterator[Cluster]:
    """Without a provider, the cluster that the agent runs in. Raises ConfigError."""
    settings = provider or Provider()
    key = ("kubernetes", settings.model_dump_json())

    @asynccontextmanager
    async def open_cluster() -> AsyncIterator[Cluster]:
        load = partial(
            load_access,
            path=settings.kube_config_path,
            context=settings.context,
            master_url=settings.master_url,
        )
        access = await asyncio.to_thread(load)
        async with open_client(
            access, per_second=settings.api_qps, burst=settings.api_burst, load=load
        ) as api:
            kinds, health = Discovery(api), HealthRules(_custom_rules(settings))
            follower = Follower(api, kinds, Reducer(health), _scope(settings))
            yield Cluster(api=api, kinds=kinds, follower=follower, health=health)

    async with shared_connection(key, open_cluster, max_age=math.inf, survives_errors=True) as cluster:
        yield cluster


def _custom_rules(provider: Provider) -> Mapping[tuple[str, str], CustomRule]:
    """By group and kind."""
    return {
        (split_api_version(rule.api_version)[0], rule.kind): CustomRule(
            current=rule.current,
            in_progress=rule.in_progress,
            failed=rule.failed,
            ignore_generation=rule.ignore_generation,
        )
        for rule in provider.health_rules
    }


def _scope(provider: Provider) -> Scope:
    informer = provider.app_state_informer

    def kinds(matchers: Sequence[ResourceMatcher]) -> Collection[tuple[str, str]]:
        return [(split_api_version(matcher.api_version)[0], matcher.kind) for matcher in matchers]

    return Scope(
        namespace=informer.namespace,
        included=kinds(informer.include_resources),
        excluded=kinds(informer.exclude_resources),
    )
