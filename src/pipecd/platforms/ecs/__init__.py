"""ECS: a service's tasks are replaced by task sets, and listener rules shift the traffic between them.

Found by the entry point ECS. Files are read by `source`, AWS is called by `client`, `balancer` and
`autoscaling`, the weights of a rule are values of `weights`, and `stages` takes the steps.
"""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from pipecd.model.deployment import SyncStrategy, Version
from pipecd.model.stage import Source, StageFunction
from pipecd.platforms import Predefined, Strategy
from pipecd.platforms.aws import AwsProvider
from pipecd.platforms.ecs import source as files
from pipecd.platforms.ecs.config import CanaryOptions, EcsApp, NoOptions, RoutingOptions, SyncOptions
from pipecd.platforms.ecs.drift import detect_drift, drift_enabled
from pipecd.platforms.ecs.live import load_live_state
from pipecd.platforms.ecs.preview import plan_preview
from pipecd.platforms.ecs.source import Desired
from pipecd.platforms.ecs.stages import STAGES


class Ecs:
    config_kind = "ECSApp"
    spec = EcsApp
    provider: type[BaseModel] = AwsProvider
    quick_sync = Predefined(
        id="ECSSync", name="ECS_SYNC", desc="Replace the tasks and give the new ones all the traffic"
    )
    auto_rollback = True
    options: Mapping[str, type[BaseModel]] = {
        "ECS_SYNC": SyncOptions,
        "ECS_PRIMARY_ROLLOUT": NoOptions,
        "ECS_CANARY_ROLLOUT": CanaryOptions,
        "ECS_TRAFFIC_ROUTING": RoutingOptions,
        "ECS_CANARY_CLEAN": NoOptions,
    }
    stages: Mapping[str, StageFunction] = STAGES

    plan_preview = staticmethod(plan_preview)
    live_interval = 15.0
    #: People watch a deployment.
    live_deploying = 5.0
    live_heavy = False
    live_firsthand = True
    live = staticmethod(load_live_state)
    drift_interval = 60.0
    drift_enabled = staticmethod(drift_enabled)
    drift = staticmethod(detect_drift)

    async def desired(self, source: Source) -> Desired:
        return files.desired(source)

    def versions(self, desired: Desired) -> Sequence[Version]:
        return files.versions(desired)

    def strategy(self, running: Desired | None, target: Desired) -> Strategy:
        """A canary needs something that runs beside it: the first deployment syncs."""
        new = files.tag(target.task.images[0])
        if running is None:
            why = f"Quick sync of image {new}, because this is the first deployment"
            return Strategy(strategy=SyncStrategy.QUICK_SYNC, why=why)
        old = files.tag(running.task.images[0])
        why = "Sync with the pipeline" + (f", from image {old} to {new}" if old != new else "")
        return Strategy(strategy=SyncStrategy.PIPELINE, why=why)


platform = Ecs()
