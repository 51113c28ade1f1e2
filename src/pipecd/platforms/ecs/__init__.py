"""The ECS platform: replaces a service's tasks by task sets, and shifts traffic with listener rules.

Loaded through the entry point ECS. `source` reads the files, `pipeline` checks that the stages fit together,
`client`, `balancer` and `autoscaling` call AWS, `weights` models the weights of a rule, and `stages`
implements the stages.
"""

from collections.abc import Sequence

from pipecd.config.stages import NoOptions
from pipecd.model.deployment import SyncStrategy
from pipecd.platforms import Compares, Observes, Platform, Predefined, Strategy, in_thread
from pipecd.platforms.aws import AwsProvider
from pipecd.platforms.ecs.config import CanaryOptions, EcsApp, RoutingOptions, SyncOptions
from pipecd.platforms.ecs.drift import detect_drift
from pipecd.platforms.ecs.live import load_live_state
from pipecd.platforms.ecs.members import refused_changes
from pipecd.platforms.ecs.pipeline import check
from pipecd.platforms.ecs.preview import plan_preview
from pipecd.platforms.ecs.source import DesiredState, load_if_used, versions
from pipecd.platforms.ecs.stages import STAGES
from pipecd.platforms.images import image_tag


def _choose_strategy(running: DesiredState | None, target: DesiredState | None) -> Strategy:
    """A canary needs a primary next to it, so the first deployment uses quick sync.

    Without a task definition only the pipeline can deploy.
    """
    if target is None:
        return Strategy(
            strategy=SyncStrategy.PIPELINE,
            reason="Sync with the pipeline, because the application has no task definition",
        )
    new = image_tag(target.task.images[0])
    if running is None:
        why = f"Quick sync of image {new}, because this is the first deployment"
        return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=why)
    old = image_tag(running.task.images[0])
    why = "Sync with the pipeline" + (f", from image {old} to {new}" if old != new else "")
    return Strategy(strategy=SyncStrategy.PIPELINE, reason=why)


def _refused_changes(running: DesiredState | None, target: DesiredState | None) -> Sequence[str]:
    if running is None or target is None or running.service is None or target.service is None:
        return ()
    if (running.service.cluster, running.service.name) != (target.service.cluster, target.service.name):
        return ()
    controller = target.service.controller or running.service.controller
    return refused_changes(running.service.fields, target.service.fields, controller)


platform = Platform[DesiredState | None](
    config_kind="ECSApp",
    spec=EcsApp,
    provider=AwsProvider,
    quick_sync=Predefined(
        id="ECSSync", name="ECS_SYNC", desc="Replace the tasks and route all traffic to the new ones"
    ),
    options={
        "ECS_SYNC": SyncOptions,
        "ECS_PRIMARY_ROLLOUT": NoOptions,
        "ECS_CANARY_ROLLOUT": CanaryOptions,
        "ECS_TRAFFIC_ROUTING": RoutingOptions,
        "ECS_CANARY_CLEAN": NoOptions,
    },
    check=check,
    stages=STAGES,
    stages_share_checkouts=True,
    load_desired_state=in_thread(load_if_used),
    versions=versions,
    choose_strategy=_choose_strategy,
    refused_changes=_refused_changes,
    plan_preview=plan_preview,
    observes=Observes(load=load_live_state),
    compares=Compares(detect=detect_drift),
)
