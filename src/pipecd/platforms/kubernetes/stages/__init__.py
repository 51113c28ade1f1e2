"""The Kubernetes stages. Each applies objects, waits until they work, and can be repeated at any moment.

Server-side apply is idempotent, so a stage that is called again applies the rest, and the last ones again.
"""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from pipecd.model.stage import Outcome, StageFunction, StopFunction
from pipecd.platforms.kubernetes.pipeline import OPTIONS, action
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages.hooks import stop_hooks
from pipecd.platforms.kubernetes.stages.primary import primary_rollout
from pipecd.platforms.kubernetes.stages.rollback import k8s_rollback
from pipecd.platforms.kubernetes.stages.rollouts import (
    baseline_clean,
    baseline_rollout,
    canary_clean,
    canary_rollout,
)
from pipecd.platforms.kubernetes.stages.routing import traffic_routing
from pipecd.platforms.kubernetes.stages.sync import k8s_sync

_BY_ACTION: Mapping[str, Callable[..., Coroutine[Any, Any, Outcome]]] = {
    "SYNC": k8s_sync,
    "PRIMARY_ROLLOUT": primary_rollout,
    "CANARY_ROLLOUT": canary_rollout,
    "CANARY_CLEAN": canary_clean,
    "BASELINE_ROLLOUT": baseline_rollout,
    "BASELINE_CLEAN": baseline_clean,
    "TRAFFIC_ROUTING": traffic_routing,
}


def make_stages(settings: StageSettings) -> Mapping[str, StageFunction]:
    """The functions of all stages."""
    by_action = {name: partial(function, settings=settings) for name, function in _BY_ACTION.items()}
    rollback = partial(k8s_rollback, settings=settings)
    return {**{name: by_action[action(name)] for name in OPTIONS}, "ROLLBACK": rollback}


def make_stops(settings: StageSettings) -> Mapping[str, StopFunction]:
    """For the stages during which a hook may run when they are cancelled."""
    with_hooks = [name for name in OPTIONS if action(name) in ("SYNC", "PRIMARY_ROLLOUT", "CANARY_ROLLOUT")]
    return {name: partial(stop_hooks, settings=settings) for name in [*with_hooks, "ROLLBACK"]}
