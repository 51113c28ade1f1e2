"""The Terraform platform: plans and applies a configuration directory at a commit.

Loaded through the entry point TERRAFORM. `source` and `hcl` read the files, `binary`, `terraform` and
`folder` run the program, and `stages` implements the stages.
"""

from pipecd.config.stages import NoOptions
from pipecd.model.deployment import SyncStrategy
from pipecd.platforms import Compares, Observes, Platform, Predefined, Strategy, in_thread
from pipecd.platforms.terraform.config import PlanOptions, Provider, TerraformApp
from pipecd.platforms.terraform.drift import detect_drift, drift_enabled
from pipecd.platforms.terraform.live import load_live_state
from pipecd.platforms.terraform.preview import plan_preview
from pipecd.platforms.terraform.source import Files, load_desired_state, var_file_paths, versions
from pipecd.platforms.terraform.stages import apply, plan, rollback, sync


def _choose_strategy(_: Files | None, __: Files) -> Strategy:
    """A configured pipeline is used for the first deployment too."""
    return Strategy(
        strategy=SyncStrategy.PIPELINE, reason="Sync with the pipeline, because the application has one"
    )


platform = Platform(
    config_kind="TerraformApp",
    spec=TerraformApp,
    plugin_fields="input",
    provider=Provider,
    quick_sync=Predefined(id="TerraformSync", name="TERRAFORM_SYNC", desc="Plan and apply the changes"),
    # A rollback may destroy resources created since. As in PipeCD, it has to be enabled.
    auto_rollback=False,
    options={
        "TERRAFORM_SYNC": NoOptions,
        "TERRAFORM_PLAN": PlanOptions,
        "TERRAFORM_APPLY": NoOptions,
    },
    stages={
        "TERRAFORM_SYNC": sync,
        "TERRAFORM_PLAN": plan,
        "TERRAFORM_APPLY": apply,
        "ROLLBACK": rollback,
    },
    load_desired_state=in_thread(load_desired_state),
    reads=var_file_paths,
    versions=versions,
    choose_strategy=_choose_strategy,
    plan_preview=plan_preview,
    observes=Observes(
        load=load_live_state,
        # Each check runs `terraform init` in a checkout, and the state rarely changes outside deployments.
        interval=300.0,
        # Not shorter: the state is incomplete during an apply, and an approval may take days.
        interval_deploying=300.0,
        runs_program=True,
        # The state records what Terraform did, not later manual changes.
        shows_manual_changes=False,
    ),
    # Rarely, because a plan queries every provider.
    compares=Compares(detect=detect_drift, enabled=drift_enabled, interval=600.0),
)
