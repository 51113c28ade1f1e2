"""Terraform: a directory of configuration is planned and applied at the commit that Git names.

Found by the entry point TERRAFORM. What differs from other platforms is here: what its files say (`source`,
`hcl`), how the program is run (`binary`, `terraform`, `folder`) and what its stages do (`stages`).
"""

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from pipecd.model.deployment import SyncStrategy, Version
from pipecd.model.stage import Source, StageFunction
from pipecd.platforms import Predefined, Strategy
from pipecd.platforms.terraform import source as files
from pipecd.platforms.terraform.config import NoOptions, PlanOptions, Provider, TerraformApp
from pipecd.platforms.terraform.drift import detect_drift, drift_enabled
from pipecd.platforms.terraform.live import load_live_state
from pipecd.platforms.terraform.preview import plan_preview
from pipecd.platforms.terraform.source import Files
from pipecd.platforms.terraform.stages import apply, plan, rollback, sync


class Terraform:
    config_kind = "TerraformApp"
    spec = TerraformApp
    provider: type[BaseModel] = Provider
    quick_sync = Predefined(
        id="TerraformSync", name="TERRAFORM_SYNC", desc="Plan, and apply what the plan found"
    )
    #: Going back may destroy what was made since: as PipeCD's users know it, that has to be asked for.
    auto_rollback = False
    options: Mapping[str, type[BaseModel]] = {
        "TERRAFORM_SYNC": NoOptions,
        "TERRAFORM_PLAN": PlanOptions,
        "TERRAFORM_APPLY": NoOptions,
    }
    stages: Mapping[str, StageFunction] = {
        "TERRAFORM_SYNC": sync,
        "TERRAFORM_PLAN": plan,
        "TERRAFORM_APPLY": apply,
        "ROLLBACK": rollback,
    }

    plan_preview = staticmethod(plan_preview)
    #: Each look initialises Terraform in a checkout; its state moves seldom but by our deployments.
    live_interval = 300.0
    #: A state that is being applied to tells little, and an approval may take days.
    live_deploying = 300.0
    live_heavy = True
    #: A state tells what Terraform did, not what somebody did since.
    live_firsthand = False
    live = staticmethod(load_live_state)
    #: A plan asks every provider: seldom.
    drift_interval = 600.0
    drift_enabled = staticmethod(drift_enabled)
    drift = staticmethod(detect_drift)

    async def desired(self, source: Source) -> Files:
        return await asyncio.to_thread(files.desired, source)

    def versions(self, desired: Files) -> Sequence[Version]:
        return files.versions(desired)

    def strategy(self, running: Files | None, target: Files) -> Strategy:
        """A pipeline that somebody wrote is meant for the first deployment too."""
        return Strategy(
            strategy=SyncStrategy.PIPELINE, why="Sync with the pipeline, because the application has one"
        )


platform = Terraform()
