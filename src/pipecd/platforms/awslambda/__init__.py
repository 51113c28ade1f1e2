"""The Lambda platform: publishes code and configuration as a version, and shifts traffic with an alias.

Loaded through the entry point LAMBDA. `source` reads the manifest, `client` calls AWS, `traffic` models the
traffic split, and `stages` implements the stages.
"""

from pipecd.config.stages import NoOptions
from pipecd.model.deployment import SyncStrategy
from pipecd.platforms import Compares, Observes, Platform, Predefined, Strategy, in_thread
from pipecd.platforms.awslambda.config import LambdaApp, LambdaProvider, PromoteOptions
from pipecd.platforms.awslambda.drift import detect_drift
from pipecd.platforms.awslambda.function import LambdaFunction, refused_changes
from pipecd.platforms.awslambda.live import load_live_state
from pipecd.platforms.awslambda.pipeline import check
from pipecd.platforms.awslambda.preview import plan_preview
from pipecd.platforms.awslambda.source import load_if_used, versions
from pipecd.platforms.awslambda.stages import STAGES


def _choose_strategy(running: LambdaFunction | None, target: LambdaFunction | None) -> Strategy:
    """A traffic split needs a previous version, so the first deployment uses quick sync.

    Without a manifest only the pipeline can deploy.
    """
    if target is None:
        return Strategy(
            strategy=SyncStrategy.PIPELINE,
            reason="Sync with the pipeline, because the application has no function manifest",
        )
    if running is None:
        why = f"Quick sync of version {_shown(target)}, because this is the first deployment"
        return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=why)
    if _shown(running) != _shown(target):
        why = f"Sync with the pipeline, from version {_shown(running)} to {_shown(target)}"
    else:
        why = "Sync with the pipeline"
    return Strategy(strategy=SyncStrategy.PIPELINE, reason=why)


def _shown(function: LambdaFunction) -> str:
    """The version, or the key of a zip in S3 whose object version is not given."""
    return function.version or function.s3_key


platform = Platform[LambdaFunction | None](
    config_kind="LambdaApp",
    spec=LambdaApp,
    provider=LambdaProvider,
    quick_sync=Predefined(
        id="LambdaSync", name="LAMBDA_SYNC", desc="Publish a new version and route all traffic to it"
    ),
    options={
        "LAMBDA_SYNC": NoOptions,
        "LAMBDA_CANARY_ROLLOUT": NoOptions,
        "LAMBDA_PROMOTE": PromoteOptions,
    },
    check=check,
    stages=STAGES,
    stages_share_checkouts=True,
    load_desired_state=in_thread(load_if_used),
    versions=versions,
    choose_strategy=_choose_strategy,
    refused_changes=refused_changes,
    plan_preview=plan_preview,
    observes=Observes(load=load_live_state),
    compares=Compares(detect=detect_drift),
)
