"""Which stages a pipeline of Kubernetes may contain, and whether they fit together. Pure.

Checked when the application's file is read, before anything is deployed.
"""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from pipecd.config.application import SpecError, StageConfig
from pipecd.platforms.kubernetes.config import (
    BaselineRolloutOptions,
    CanaryRolloutOptions,
    KubernetesApp,
    PrimaryRolloutOptions,
    StageTargets,
    SyncOptions,
    TrafficRoutingOptions,
)
from pipecd.platforms.kubernetes.variants import BASELINE, CANARY, PRIMARY

_OPTIONS: Mapping[str, type[BaseModel]] = {
    "SYNC": SyncOptions,
    "PRIMARY_ROLLOUT": PrimaryRolloutOptions,
    "CANARY_ROLLOUT": CanaryRolloutOptions,
    "CANARY_CLEAN": StageTargets,
    "BASELINE_ROLLOUT": BaselineRolloutOptions,
    "BASELINE_CLEAN": StageTargets,
    "TRAFFIC_ROUTING": TrafficRoutingOptions,
}
#: Also the names of PipeCD's plugin for several clusters.
PREFIXES = ("K8S_", "K8S_MULTI_")
OPTIONS = {prefix + name: options for prefix in PREFIXES for name, options in _OPTIONS.items()}
#: Methods that need a service for each variant.
_BY_SERVICE = ("gateway", "smi")


def action(stage: str) -> str:
    """`K8S_MULTI_CANARY_CLEAN` → `CANARY_CLEAN`; empty for a stage of another kind."""
    return stage.removeprefix("K8S_").removeprefix("MULTI_") if stage in OPTIONS else ""


def check(spec: KubernetesApp) -> Iterator[SpecError]:
    """What is wrong with the pipeline."""
    running: dict[str, StageConfig] = {}
    for index, stage in enumerate(spec.pipeline.stages if spec.pipeline else ()):
        path = ("pipeline", "stages", index)
        match action(stage.name).split("_"):
            case [("CANARY" | "BASELINE") as name, "ROLLOUT"]:
                running[name.lower()] = stage
            case [("CANARY" | "BASELINE") as name, "CLEAN"]:
                running.pop(name.lower(), None)
            case ["TRAFFIC", "ROUTING"]:
                yield from _check_routing(spec, stage, (*path, "with"), running)


def _check_routing(
    spec: KubernetesApp, stage: StageConfig, path: tuple[str | int, ...], running: Mapping[str, StageConfig]
) -> Iterator[SpecError]:
    options: TrafficRoutingOptions = stage.options
    method = spec.traffic_routing.method
    shares = [options.shares, *(step.shares for step in options.steps)]
    if method == "podselector" and any(100 not in (share[PRIMARY], share[CANARY]) for share in shares):
        yield SpecError(
            path=path,
            what="the traffic routing method podselector cannot split traffic: primary or canary gets all",
            remedy="set all: primary or all: canary, or spec.trafficRouting.method to istio or gateway",
        )
    if options.canary_match and method in ("podselector", "smi"):
        yield SpecError(
            path=(*path, "canaryMatch"),
            what=f"the traffic routing method {method} cannot route requests by their headers",
            remedy="remove canaryMatch, or set spec.trafficRouting.method to istio or gateway",
        )
    for name in (CANARY, BASELINE):
        receives = any(share[name] for share in shares) or (name == CANARY and options.canary_match)
        if not receives:
            continue
        rollout = running.get(name)
        if rollout is None:
            yield SpecError(
                path=path,
                what=f"the {name} gets traffic, but no stage before has started it",
                remedy=f"add K8S_{name.upper()}_ROLLOUT before this stage",
            )
        elif method in _BY_SERVICE and not rollout.options.create_service:
            yield SpecError(
                path=path,
                what=f"the traffic routing method {method} needs a service of the {name}",
                remedy=f"set createService: true in K8S_{name.upper()}_ROLLOUT",
            )
