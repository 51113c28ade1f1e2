"""K8S_TRAFFIC_ROUTING: splits the traffic between the variants, at once or in steps."""

from pipecd.errors import ConfigError
from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.kubernetes.checks import check_manifests
from pipecd.platforms.kubernetes.config import KubernetesApp, TrafficRoutingOptions
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages.clusters import open_jobs, run_phases
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.rendering import target_manifests
from pipecd.platforms.kubernetes.stages.serving import find_subsets
from pipecd.platforms.kubernetes.stages.shift import find_route, percentages, set_traffic
from pipecd.platforms.kubernetes.traffic import Routing, find_routing
from pipecd.platforms.kubernetes.traffic.routed import Shares

#: Stage metadata: the step, and when its traffic was effective (epoch seconds).
_STEP, _EFFECTIVE_SINCE = "pipecd/step", "pipecd/step-since"


async def traffic_routing(work: Work[TrafficRoutingOptions], settings: StageSettings) -> Outcome:
    source = await work.checkouts.target()
    manifests, shared = await target_manifests(work, source)
    if shared:
        return Again(shared=shared, note=f"Rendered {len(manifests)} objects")
    spec: KubernetesApp = source.config.spec
    check_manifests(spec, manifests)
    find_routing(spec, manifests, work.log.info if not work.saved else lambda text: None)
    options, number = work.options, int(work.saved.get(_STEP, "0"))
    headers = options.canary_match.headers if options.canary_match else None
    shares = options.steps[number].shares if options.steps else options.shares

    async def route(job: Job) -> Step:
        routing = find_route(job)
        if routing is None:
            return None
        if not job.work.saved and spec.traffic_routing.method == "istio":
            await _check_subsets(job, routing, shares)
        return await set_traffic(job, routing, shares, headers, name=f"{work.stage.id}/{number}")

    async with open_jobs(work, settings, source, manifests) as jobs:
        # Each step is a phase, which begins when the one before has ended in all clusters.
        if step := await run_phases(work, jobs, [*[_ended] * number, route]):
            return step
    return _next_step(work, number, shares)


async def _ended(job: Job) -> None:
    return None


def _next_step(work: Work[TrafficRoutingOptions], number: int, shares: Shares) -> Outcome:
    """After the traffic of a step is effective: wait, begin the next one, or end."""
    steps = work.options.steps
    note = "Traffic: " + ", ".join(f"{name} {share} %" for name, share in shares.items() if share)
    shown = percentages(shares)
    if not steps:
        return Done(note=note, saved=shown)
    since = float(work.saved.get(_EFFECTIVE_SINCE) or work.now)
    remaining = since + steps[number].duration.total_seconds() - work.now
    if remaining > 0:
        note = f"{note}; step {number + 1} of {len(steps)}"
        return Again(after=remaining, note=note, saved={_EFFECTIVE_SINCE: str(since), **shown})
    if number + 1 == len(steps):
        return Done(note=note, saved=shown)
    return Again(note=note, saved={_STEP: str(number + 1), _EFFECTIVE_SINCE: "", **shown})


async def _check_subsets(job: Job, routing: Routing, shares: Shares) -> None:
    known = await find_subsets(job, routing)
    for name, share in shares.items():
        subset = routing.variants[name].label[1]
        if share and subset not in known:
            raise ConfigError(
                f"no DestinationRule of the host defines the subset {subset}, so its traffic would fail",
                remedy=f"add a DestinationRule with the subsets {', '.join(_subsets(routing))}",
                place=routing.manifest.place,
            )


def _subsets(routing: Routing) -> list[str]:
    return [variant.label[1] for variant in routing.variants.values()]
