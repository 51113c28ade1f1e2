"""The ECS platform: replaces a service's tasks by task sets, and shifts traffic with listener rules.

Loaded through the entry point ECS. `source` reads the files, `client`, `balancer` and `autoscaling` call AWS,
`weights` models the weights of a rule, and `stages` implements the stages.
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
from pipecd.platforms.ecs.source import DesiredState
from pipecd.platforms.ecs.stages import STAGES


class EcsPlatform:
    config_kind = "ECSApp"
    spec = EcsApp
    provider: type[BaseModel] = AwsProvider
    quick_sync = Predefined(
        id="ECSSync", name="ECS_SYNC", desc="Replace the tasks and route all traffic to the new ones"
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
    #: Shorter, because users watch the console during a deployment.
    live_interval_deploying = 5.0
    live_runs_program = False
    live_shows_manual_changes = True
    load_live_state = staticmethod(load_live_state)
    drift_interval = 60.0
    drift_enabled = staticmethod(drift_enabled)
    detect_drift = staticmethod(detect_drift)

    async def load_desired_state(self, source: Source) -> DesiredState:
        return files.load_desired_state(source)

    def versions(self, desired: DesiredState) -> Sequence[Version]:
        return files.versions(desired)

    def choose_strategy(self, running: DesiredState | None, target: DesiredState) -> Strategy:
        """A canary needs a primary next to it, so the first deployment uses quick sync."""
        new = files.image_tag(target.task.images[0])
        if running is None:
            why = f"Quick sync of image {new}, because this is the first deployment"
            return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=why)
        old = files.image_tag(running.task.images[0])
        why = "Sync with the pipeline" + (f", from image {old} to {new}" if old != new else "")
        return Strategy(strategy=SyncStrategy.PIPELINE, reason=why)


platform = EcsPlatform()
