"""K8S_PRIMARY_ROLLOUT: brings the workloads to the state in Git, while the traffic stays as it is.

The object that routes the traffic is left to the stages that move it. If none follows, all traffic goes to
the primary variant when it works.
"""

from collections.abc import Sequence
from functools import partial

from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.kubernetes.checks import check_manifests
from pipecd.platforms.kubernetes.config import KubernetesApp, PrimaryRolloutOptions
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages import added, prune
from pipecd.platforms.kubernetes.stages.clusters import (
    converge_wave,
    open_jobs,
    run_with_pruning,
)
from pipecd.platforms.kubernetes.stages.hooks import POST_SYNC, with_hooks, with_sync_fail
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.rendering import target_manifests
from pipecd.platforms.kubernetes.stages.shift import find_route, route_to_primary
from pipecd.platforms.kubernetes.traffic import ROUTING_STAGES
from pipecd.platforms.kubernetes.variants import PRIMARY, make_services, variant_of


async def primary_rollout(work: Work[PrimaryRolloutOptions], settings: StageSettings) -> Outcome:
    source = await work.checkouts.target()
    manifests, shared = await target_manifests(work, source)
    if shared:
        return Again(shared=shared, note=f"Rendered {len(manifests)} objects")
    spec: KubernetesApp = source.config.spec
    options = work.options
    check_manifests(spec, manifests)
    variant = variant_of(spec, PRIMARY, options.suffix)
    services = make_services(manifests, spec.service.name, variant) if options.create_service else ()

    async def list_obsolete(job: Job) -> Step:
        return await prune.list_once(job, limit=options.prune_limit, only_primary=True)

    async def apply(job: Job, last_wave: int | None) -> Step:
        await added.record_once(job)
        return await converge_wave(job, _objects(job, services, options), last_wave)

    async def route(job: Job) -> Step:
        routing = find_route(job)
        return await route_to_primary(job, routing) if routing else None

    async with open_jobs(work, settings, source, manifests, prune=options.prune) as jobs:
        phases = with_hooks(jobs, lambda last: partial(apply, last_wave=last))
        if not _traffic_follows(work):
            phases.append(route)

        async def roll_out() -> Step:
            obsolete = list_obsolete if options.prune else None
            return await run_with_pruning(work, jobs, phases, obsolete, after=POST_SYNC)

        if step := await with_sync_fail(work, jobs, roll_out):
            return step
    return Done(note=f"The primary variant is at commit {source.commit[:7]} and works")


def _objects(job: Job, services: Sequence[Manifest], options: PrimaryRolloutOptions) -> list[Manifest]:
    """What is applied in this cluster, in the order of applying."""
    routing = find_route(job)
    declared = [
        manifest for manifest in job.declared if routing is None or manifest.key != routing.declared.key
    ]
    own = {manifest.place for manifest in job.declared}
    generated = [service for service in services if service.place in own]
    return job.ordered([*generated, *declared], add_variant_label=options.add_variant_label_to_selector)


def _traffic_follows(work: Work[PrimaryRolloutOptions]) -> bool:
    return any(
        stage.name in ROUTING_STAGES and stage.index > work.stage.index and not stage.rollback
        for stage in work.deployment.stages
    )
