"""Lambda: a function's code and configuration are published as a version, and an alias shifts the traffic.

Found by the entry point LAMBDA. The manifest is read by `source`, AWS is called by `client`, the share of
each version is a value of `traffic`, and `stages` takes the steps.
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


class Lambda:
    config_kind = "LambdaApp"
    spec = LambdaApp
    provider: type[BaseModel] = LambdaProvider
    quick_sync = Predefined(
        id="LambdaSync", name="LAMBDA_SYNC", desc="Publish the new version and give it all the traffic"
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
    #: People watch a deployment.
    live_deploying = 5.0
    live_heavy = False
    live_firsthand = True
    live = staticmethod(load_live_state)
    drift_interval = 60.0
    drift_enabled = staticmethod(drift_enabled)
    drift = staticmethod(detect_drift)

    async def desired(self, source: Source) -> LambdaFunction:
        return files.manifest(source)

    def versions(self, desired: LambdaFunction) -> Sequence[Version]:
        return files.versions(desired)

    def strategy(self, running: LambdaFunction | None, target: LambdaFunction) -> Strategy:
        """Shares of the traffic need a version to share it with: the first deployment syncs."""
        if running is None:
            why = f"Quick sync of version {target.version}, because this is the first deployment"
            return Strategy(strategy=SyncStrategy.QUICK_SYNC, why=why)
        if running.version != target.version:
            why = f"Sync with the pipeline, from version {running.version} to {target.version}"
        else:
            why = "Sync with the pipeline"
        return Strategy(strategy=SyncStrategy.PIPELINE, why=why)


platform = Lambda()
