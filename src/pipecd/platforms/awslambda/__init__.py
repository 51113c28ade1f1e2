"""The Lambda platform: publishes code and configuration as a version, and shifts traffic with an alias.

Loaded through the entry point LAMBDA. `source` reads the manifest, `client` calls AWS, `traffic` models the
traffic split, and `stages` implements the stages.
"""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from pipecd.model.deployment import SyncStrategy, Version
from pipecd.model.stage import Source, StageFunction
from pipecd.platforms import Predefined, Strategy
from pipecd.platforms.awslambda import source as files
from pipecd.platforms.awslambda.config import LambdaApp, LambdaProvider, NoOptions, PromoteOptions
from pipecd.platforms.awslambda.drift import detect_drift, drift_enabled
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.awslambda.live import load_live_state
from pipecd.platforms.awslambda.preview import plan_preview
from pipecd.platforms.awslambda.stages import STAGES


class LambdaPlatform:
    config_kind = "LambdaApp"
    spec = LambdaApp
    provider: type[BaseModel] = LambdaProvider
    quick_sync = Predefined(
        id="LambdaSync", name="LAMBDA_SYNC", desc="Publish a new version and route all traffic to it"
    )
    auto_rollback = True
    options: Mapping[str, type[BaseModel]] = {
        "LAMBDA_SYNC": NoOptions,
        "LAMBDA_CANARY_ROLLOUT": NoOptions,
        "LAMBDA_PROMOTE": PromoteOptions,
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

    async def load_desired_state(self, source: Source) -> LambdaFunction:
        return files.load_manifest(source)

    def versions(self, desired: LambdaFunction) -> Sequence[Version]:
        return files.versions(desired)

    def choose_strategy(self, running: LambdaFunction | None, target: LambdaFunction) -> Strategy:
        """A traffic split needs a previous version, so the first deployment uses quick sync."""
        if running is None:
            why = f"Quick sync of version {target.version}, because this is the first deployment"
            return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=why)
        if running.version != target.version:
            why = f"Sync with the pipeline, from version {running.version} to {target.version}"
        else:
            why = "Sync with the pipeline"
        return Strategy(strategy=SyncStrategy.PIPELINE, reason=why)


platform = LambdaPlatform()
