"""The Kubernetes platform: applies manifests by the API of a cluster, and waits until they work.

Loaded through the entry point KUBERNETES. `render` turns the files into manifests, `cluster` calls the API,
`apply` applies one object, `health` judges one, and `stages` implements the stages.
"""

from pipecd.platforms import Compares, Details, Memory, Observes, Platform, Predefined
from pipecd.platforms.kubernetes import pipeline
from pipecd.platforms.kubernetes.compared import comparisons
from pipecd.platforms.kubernetes.config import KubernetesApp, Provider
from pipecd.platforms.kubernetes.details import load_details
from pipecd.platforms.kubernetes.drift import detect_drift
from pipecd.platforms.kubernetes.live import load_live_state, watch_cluster
from pipecd.platforms.kubernetes.logs import follow_log
from pipecd.platforms.kubernetes.permissions import check_access
from pipecd.platforms.kubernetes.preview import plan_preview
from pipecd.platforms.kubernetes.render import reads, writes_files
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.source import check_providers, load_desired_state, versions
from pipecd.platforms.kubernetes.stages import make_stages, make_stops
from pipecd.platforms.kubernetes.strategy import choose_strategy

platform = Platform(
    config_kind="KubernetesApp",
    spec=KubernetesApp,
    provider=Provider,
    quick_sync=Predefined(id="K8sSync", name="K8S_SYNC", desc="Apply all manifests and wait until they work"),
    options=pipeline.OPTIONS,
    check=pipeline.check,
    stages=make_stages(StageSettings()),
    stop=make_stops(StageSettings()),
    stages_share_checkouts=True,
    load_desired_state=load_desired_state,
    reads=reads,
    writes_files=writes_files,
    versions=versions,
    check_providers=check_providers,
    check_access=check_access,
    choose_strategy=choose_strategy,
    plan_preview=plan_preview,
    # What is known is read; the watch reports changes.
    observes=Observes(load=load_live_state, interval=60.0),
    watch=watch_cluster,
    memory=Memory(dump=comparisons.dump, load=comparisons.load),
    # A check sends a request for each object, and another one if it changed.
    compares=Compares(detect=detect_drift, interval=180.0),
    details=Details(load=load_details, follow_log=follow_log),
)
