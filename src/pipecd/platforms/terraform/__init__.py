"""The Terraform platform: plans and applies a configuration directory at a commit.

Loaded through the entry point TERRAFORM. `source` and `hcl` read the files, `binary`, `terraform` and
`folder` run the program, and `stages` implements the stages.
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


class TerraformPlatform:
    config_kind = "TerraformApp"
    spec = TerraformApp
    provider: type[BaseModel] = Provider
    quick_sync = Predefined(id="TerraformSync", name="TERRAFORM_SYNC", desc="Plan and apply the changes")
    #: A rollback may destroy resources created since. As in PipeCD, it has to be enabled.
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
    #: Each check runs `terraform init` in a checkout, and the state rarely changes outside deployments.
    live_interval = 300.0
    #: Not shorter: the state is incomplete during an apply, and an approval may take days.
    live_interval_deploying = 300.0
    live_runs_program = True
    #: The state records what Terraform did, not later manual changes.
    live_shows_manual_changes = False
    load_live_state = staticmethod(load_live_state)
    #: Long, because a plan queries every provider.
    drift_interval = 600.0
    drift_enabled = staticmethod(drift_enabled)
    detect_drift = staticmethod(detect_drift)

    async def load_desired_state(self, source: Source) -> Files:
        return await asyncio.to_thread(files.load_desired_state, source)

    def versions(self, desired: Files) -> Sequence[Version]:
        return files.versions(desired)

    def choose_strategy(self, running: Files | None, target: Files) -> Strategy:
        """A configured pipeline is used for the first deployment too."""
        return Strategy(
            strategy=SyncStrategy.PIPELINE, reason="Sync with the pipeline, because the application has one"
        )


platform = TerraformPlatform()
