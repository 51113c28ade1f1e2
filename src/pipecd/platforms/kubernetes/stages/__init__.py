"""The Kubernetes stages. Each applies objects, waits until they work, and can be repeated at any moment.

Server-side apply is idempotent, so a stage that is called again applies the rest, and the last ones again.
"""

from collections.abc import Mapping

from pipecd.model.stage import StageFunction, StopFunction
from pipecd.platforms.kubernetes.pipeline import OPTIONS, action
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

_BY_ACTION: Mapping[str, StageFunction] = {
    "SYNC": k8s_sync,
    "PRIMARY_ROLLOUT": primary_rollout,
    "CANARY_ROLLOUT": canary_rollout,
    "CANARY_CLEAN": canary_clean,
    "BASELINE_ROLLOUT": baseline_rollout,
    "BASELINE_CLEAN": baseline_clean,
    "TRAFFIC_ROUTING": traffic_routing,
}
STAGES: Mapping[str, StageFunction] = {
    **{name: _BY_ACTION[action(name)] for name in OPTIONS},
    "ROLLBACK": k8s_rollback,
}
#: A hook may run when its stage is cancelled.
STOP: Mapping[str, StopFunction] = dict.fromkeys(
    [
        name
        for name in STAGES
        if name == "ROLLBACK" or action(name) in ("SYNC", "PRIMARY_ROLLOUT", "CANARY_ROLLOUT")
    ],
    stop_hooks,
)
