"""The Cloud Run platform: creates a revision without traffic, and shifts the traffic when it is ready.

Loaded through the entry point CLOUDRUN. `manifest` is the object in Git, `client` calls Google, `traffic`
models the traffic, `comparison` determines what would change, and `stages` implements the stages.
"""

from pipecd.config.stages import NoOptions
from pipecd.platforms import Compares, Observes, Platform, Predefined, in_thread
from pipecd.platforms.cloudrun.config import CloudRunApp, CloudRunProvider, JobOptions, PromoteOptions
from pipecd.platforms.cloudrun.drift import detect_drift
from pipecd.platforms.cloudrun.live import load_live_state
from pipecd.platforms.cloudrun.manifest import Manifest
from pipecd.platforms.cloudrun.pipeline import check
from pipecd.platforms.cloudrun.preview import plan_preview
from pipecd.platforms.cloudrun.source import choose_strategy, load_if_used, versions
from pipecd.platforms.cloudrun.stages import STAGES, STOP

platform = Platform[Manifest | None](
    config_kind="CloudRunApp",
    spec=CloudRunApp,
    provider=CloudRunProvider,
    quick_sync=Predefined(
        id="CloudRunSync", name="CLOUDRUN_SYNC", desc="Deploy the new version and route all traffic to it"
    ),
    options={"CLOUDRUN_SYNC": NoOptions, "CLOUDRUN_PROMOTE": PromoteOptions, "CLOUDRUN_JOB_SYNC": JobOptions},
    check=check,
    stages=STAGES,
    stages_share_checkouts=True,
    stop=STOP,
    load_desired_state=in_thread(load_if_used),
    versions=versions,
    choose_strategy=choose_strategy,
    plan_preview=plan_preview,
    observes=Observes(load=load_live_state),
    compares=Compares(detect=detect_drift),
)
